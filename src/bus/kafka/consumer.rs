//! A member of a consumer group that reads one topic: group and fetcher together.
//!
//! Records are handed out in order per partition, each until the caller is done with it; from then on its offset is committed.
//! A record is handed out again only when its offset could not be committed: after a crash, or when the group has taken the
//! partition away unasked.

use super::cluster::{Cluster, Owner};
use super::fetch::{FetchCounts, FetchSettings, Fetcher};
use super::fetched::{Place, Source, Verdict};
use super::group::{Group, GroupSettings, Start};
use super::records::Record;
use super::settings::Settings;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// See the module.
#[derive(Debug)]
pub struct Consumer {
    topic: String,
    /// Of the topic that is read, and of the one of that name before it; nil while there is none.
    topic_id: Uuid,
    former_id: Uuid,
    group: Group,
    fetcher: Fetcher,
    /// The assignment that the fetcher reads.
    revision: u64,
}

impl Consumer {
    /// A consumer that has not joined its group yet. `client` is what the cluster was made with.
    #[must_use]
    pub fn new(group: GroupSettings, fetch: FetchSettings, client: &Settings) -> Self {
        let topic = group.topic.clone();
        Self {
            fetcher: Fetcher::new(fetch, &topic),
            group: Group::new(group, client),
            topic,
            topic_id: Uuid::nil(),
            former_id: Uuid::nil(),
            revision: 0,
        }
    }

    /// Takes answers, hands at most `records_max` records to `sink`, and sends what is to be sent. Never waits.
    pub fn poll(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        records_max: usize,
        sink: &mut dyn FnMut(Source, &Record<'_>) -> Verdict,
    ) {
        cluster.want_topic(&self.topic, now);
        self.follow_topic(cluster);
        let Self { group, fetcher, .. } = self;
        while let Some(completion) = cluster.next_completion(Owner::Consumer) {
            if let Some(completion) = group.complete(completion, now, cluster) {
                // Where a partition without an offset was begun is committed too: the next run must not begin behind it.
                fetcher.complete(completion, now, cluster, &mut |index, place| {
                    group.done(index, place.next, place.leader_epoch);
                });
            }
        }
        self.follow_assignment();
        let Self { group, fetcher, .. } = self;
        let mut places = Vec::new();
        let may_deliver = |index| group.may_deliver(index, now);
        fetcher.deliver(now, records_max, &may_deliver, sink, &mut |index, place| places.push((index, place)));
        for (index, place) in places {
            group.done(index, place.next, place.leader_epoch);
        }
        group.poll(now, cluster);
        self.follow_assignment();
        if !self.group.is_over() {
            self.fetcher.poll(now, cluster);
        }
        self.fetcher.review(now, cluster);
    }

    /// A topic that was deleted and created again is another one, whatever its name: nothing known of the first is true of it.
    fn follow_topic(&mut self, cluster: &Cluster) {
        let id = cluster.metadata().topic(&self.topic).map_or(Uuid::nil(), |topic| topic.id);
        // A broker that lags behind still tells of the one before.
        if id.is_nil() || id == self.topic_id || id == self.former_id {
            return;
        }
        self.former_id = std::mem::replace(&mut self.topic_id, id);
        if !self.former_id.is_nil() {
            log::warn!("topic {}: it was created anew; it is read by auto_offset_reset", self.topic);
            self.fetcher.begin_anew();
            self.group.begin_anew();
        }
    }

    fn follow_assignment(&mut self) {
        if self.revision != self.group.revision() {
            self.revision = self.group.revision();
            self.fetcher.assign(self.group.assigned());
        }
        for index in self.fetcher.unplaced() {
            match self.group.start(index) {
                Start::Unknown => {}
                Start::Committed { offset, leader_epoch } => {
                    self.fetcher.begin_at(index, Place { next: offset, leader_epoch });
                }
                Start::Absent => self.fetcher.begin_by_policy(index),
            }
        }
    }

    /// The membership: partitions, troubles, identity.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// What went wrong with fetching.
    #[must_use]
    pub const fn fetch_counts(&self) -> FetchCounts {
        self.fetcher.counts()
    }

    /// Why the topic is not read, if it is not: what passes within seconds aside.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Arc<str>> {
        self.fetcher.trouble()
    }

    /// The place that has been reached in a partition.
    #[must_use]
    pub fn place(&self, partition: i32) -> Option<Place> {
        self.fetcher.place(partition)
    }

    /// Records in each of our partitions that were not handed out yet; `None` where that is unknown.
    pub fn lag(&self) -> impl Iterator<Item = (i32, Option<u64>)> {
        self.fetcher.lag()
    }

    /// Stops handing out, commits what the caller is done with, and leaves the group (a static member stays in it for its next
    /// run). To be polled until [`Self::is_closed`].
    pub const fn close(&mut self) {
        self.group.leave();
    }

    /// Whether there is nothing left to do: after [`Self::close`], or because another process has taken our place in the group.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.group.is_over()
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        // What is overdue after a poll waits for a connection, and that has deadlines of its own.
        let group = self.group.deadline().filter(|at| *at > now);
        group.into_iter().chain(self.fetcher.deadline(now)).min()
    }
}
