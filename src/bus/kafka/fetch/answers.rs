//! What brokers answer.

use super::super::cluster::{Cluster, Completion};
use super::super::connection::Answer;
use super::super::error::Failure;
use super::super::fetched::{Fetched, Place};
use super::super::link::Target;
use super::super::log_api::FETCH_THROTTLED_SINCE;
use super::super::records::next_offset;
use super::trouble::{Cause, Problem};
use super::{Fetch, Fetcher};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest};
use std::time::Instant;

const LEFT_OUT: &str = "the answer leaves the partition out";

impl Fetcher {
    /// Takes the end of a request. Gives each partition whose beginning has been found to `begun`.
    pub(in super::super) fn complete(
        &mut self,
        completion: Completion,
        now: Instant,
        cluster: &mut Cluster,
        begun: &mut dyn FnMut(i32, Place),
    ) {
        let Completion { ticket, target, result } = completion;
        let (indices, taken) = if let Some(fetch) = self.fetches.remove(&ticket) {
            let indices: Vec<i32> = fetch.from.iter().map(|(index, _)| *index).collect();
            self.mark_asked(&indices, false);
            (indices, result.and_then(|answer| self.take_fetch(&fetch, target, answer, now, cluster)))
        } else if let Some(indices) = self.listings.remove(&ticket) {
            self.mark_asked(&indices, false);
            let taken = result.and_then(|answer| self.take_offsets(&indices, answer, now, cluster, begun));
            (indices, taken)
        } else {
            return;
        };
        if let Err(failure) = taken {
            if matches!(failure, Failure::Garbled { .. }) {
                cluster.fail(target, &failure, now);
            }
            self.failed(&indices, &failure, now, cluster);
        }
    }

    fn take_fetch(
        &mut self,
        fetch: &Fetch,
        target: Target,
        answer: Answer,
        now: Instant,
        cluster: &mut Cluster,
    ) -> Result<(), Failure> {
        let version = answer.version();
        let answer = answer.decode::<FetchRequest>()?;
        cluster.throttled(target, (version, FETCH_THROTTLED_SINCE), answer.throttle_time_ms, now);
        let mut unanswered: Vec<i32> = fetch.from.iter().map(|(index, _)| *index).collect();
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            self.rest(&unanswered, Some(&Cause::Code(error.code())), now, cluster);
            return Ok(());
        }
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let Some(&(index, from)) = fetch.from.iter().find(|(index, _)| *index == data.partition_index) else { continue };
            unanswered.retain(|other| *other != index);
            self.take_partition(index, from, data, now, cluster);
        }
        // Beyond a quota nothing is answered at all.
        if !unanswered.is_empty() && answer.throttle_time_ms == 0 {
            self.rest(&unanswered, Some(&useless(LEFT_OUT)), now, cluster);
        }
        Ok(())
    }

    fn take_partition(&mut self, index: i32, from: i64, data: PartitionData, now: Instant, cluster: &mut Cluster) {
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        // Given away, given back and placed elsewhere meanwhile.
        if partition.place.is_none() || partition.fetch_from != from {
            return;
        }
        match ResponseError::try_from_code(data.error_code) {
            None => {}
            Some(ResponseError::OffsetOutOfRange) => {
                self.counts.lost_places += 1;
                partition.begin_reset();
                partition.gone = Some(from);
                return;
            }
            Some(error) => return self.rest(&[index], Some(&Cause::Code(error.code())), now, cluster),
        }
        let bytes = data.records.unwrap_or_default();
        let next = next_offset(&bytes, from);
        if next == from && !bytes.is_empty() {
            return self.rest(&[index], Some(&useless("the answer has bytes but no batch")), now, cluster);
        }
        partition.succeeded();
        partition.high_watermark = Some(data.high_watermark);
        partition.fetch_from = next;
        if next > from {
            partition.buffers.push_back(Fetched::new(bytes, data.aborted_transactions.unwrap_or_default()));
        }
    }

    fn take_offsets(
        &mut self,
        asked: &[i32],
        answer: Answer,
        now: Instant,
        cluster: &mut Cluster,
        begun: &mut dyn FnMut(i32, Place),
    ) -> Result<(), Failure> {
        let answer = answer.decode::<ListOffsetsRequest>()?;
        let mut unanswered = asked.to_vec();
        for answered in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = answered.partition_index;
            unanswered.retain(|other| *other != index);
            let Some(partition) = self.partitions.get_mut(&index).filter(|partition| partition.reset) else { continue };
            if let Some(error) = ResponseError::try_from_code(answered.error_code) {
                self.rest(&[index], Some(&Cause::Code(error.code())), now, cluster);
                continue;
            }
            let place = Place { next: answered.offset.max(0), leader_epoch: -1 };
            partition.succeeded();
            if let Some(gone) = partition.gone.take() {
                let Place { next, .. } = place;
                let what = if next < gone {
                    // The log ends before what was read of it: these offsets are of other records.
                    self.incarnations.entry(index).and_modify(|incarnation| *incarnation += 1);
                    "what is there now was written later".to_owned()
                } else {
                    format!("{} offsets passed over", next.saturating_sub(gone))
                };
                log::error!("{} partition {index}: offset {gone} is gone, going on at {next}: {what}", self.topic);
            }
            partition.place_at(place);
            begun(index, place);
        }
        if !unanswered.is_empty() {
            self.rest(&unanswered, Some(&useless(LEFT_OUT)), now, cluster);
        }
        Ok(())
    }

    /// The request came to nothing. That a broker is away is told for all that use it.
    pub(super) fn failed(&mut self, indices: &[i32], failure: &Failure, now: Instant, cluster: &mut Cluster) {
        let cause = (!failure.is_absence()).then(|| useless(failure));
        self.rest(indices, cause.as_ref(), now, cluster);
    }

    /// The leader may have moved, or have lost its connection: what is known of it is asked for again, and then the partition.
    fn rest(&mut self, indices: &[i32], cause: Option<&Cause>, now: Instant, cluster: &mut Cluster) {
        self.counts.errors += 1;
        cluster.refresh_metadata(now);
        for index in indices {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            if let Some(cause) = cause {
                log::debug!("{} partition {index}: {cause}", self.topic);
                Problem::note(&mut partition.problem, cause.clone(), now);
            }
            partition.failures = partition.failures.saturating_add(1);
            partition.rest_until = Some(now + cluster.backoff(partition.failures));
        }
    }
}

fn useless(why: &(impl ToString + ?Sized)) -> Cause {
    Cause::Useless(why.to_string())
}
