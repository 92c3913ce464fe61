//! When metadata is asked for, and of whom.

use super::super::connection::{Answer, Connection, Ticket};
use super::super::error::Failure;
use super::super::link::{Lane, Link, Target};
use super::super::settings::Endpoint;
use super::{Cluster, Completion, Owner};
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use std::time::{Duration, Instant};

/// When metadata is asked for.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) at: Instant,
    pub(super) last: Option<Instant>,
    pub(super) in_flight: Option<Ticket>,
    /// Asked for early so often in a row.
    pub(super) urgent: u32,
    pub(super) succeeded: bool,
    /// Which known address is tried while none is connected, and until when before the next is tried too.
    pub(super) candidate: usize,
    pub(super) candidate_until: Option<Instant>,
}

/// How long one address is given before the next is tried beside it.
const CANDIDATE_PATIENCE: Duration = Duration::from_millis(500);
/// Early refreshes further apart than this are not in a row.
const URGENT_WINDOW: Duration = Duration::from_secs(5);

impl Cluster {
    /// Asks for a topic's partitions and leaders from now on.
    pub fn want_topic(&mut self, name: &str, now: Instant) {
        if self.metadata.want(name) {
            self.refresh.at = self.refresh.at.min(now);
        }
    }

    /// What is known proved wrong: metadata is asked for again soon. To call it for each record costs nothing more.
    pub fn refresh_metadata(&mut self, now: Instant) {
        if self.refresh.in_flight.is_some() || self.refresh.at <= now + self.settings.backoff_max.mul_f64(1.2) {
            return;
        }
        let last = self.refresh.last.unwrap_or(now);
        let in_a_row = now.saturating_duration_since(last) < URGENT_WINDOW;
        self.refresh.urgent = if in_a_row { self.refresh.urgent.saturating_add(1) } else { 0 };
        let delay = if in_a_row { self.backoff.delay(self.refresh.urgent) } else { Duration::ZERO };
        self.refresh.at = now.max(last + delay);
    }

    pub(super) fn poll_metadata(&mut self, now: Instant) {
        while let Some(completion) = self.next_completion(Owner::Cluster) {
            if self.refresh.in_flight == Some(completion.ticket) {
                self.take_metadata(completion, now);
            } else if self.coordinator.in_flight == Some(completion.ticket) {
                self.take_coordinator(completion, now);
            }
        }
        if self.refresh.in_flight.is_some() || self.refresh.at > now {
            return;
        }
        let Some(target) = self.returning().or_else(|| self.any_broker(now)) else { return };
        let Some(version) = self.version::<MetadataRequest>(target, now) else { return };
        let by_name = |name| MetadataRequestTopic::default().with_name(Some(name));
        let mut request = MetadataRequest::default().with_topics(Some(self.metadata.wanted().map(by_name).collect()));
        if version >= 4 {
            // A topic that a broker creates of itself, because it is asked for, has the broker's defaults and nobody's consent.
            request.allow_auto_topic_creation = false;
        }
        let deadline = now + self.settings.request_timeout;
        self.refresh.last = Some(now);
        match self.send(Owner::Cluster, target, &request, version, deadline) {
            Ok(ticket) => self.refresh.in_flight = Some(ticket),
            Err(failure) => self.fail(target, &failure, now),
        }
    }

    fn take_metadata(&mut self, completion: Completion, now: Instant) {
        self.refresh.in_flight = None;
        self.refresh.at = now + self.watch.look_again().unwrap_or(self.settings.metadata_max_age);
        match completion.result.and_then(Answer::decode::<MetadataRequest>) {
            Ok(answer) if !answer.brokers.is_empty() => {
                let unsettled = self.metadata.update(&answer);
                self.refresh.succeeded = true;
                self.adopt_brokers(now);
                if unsettled {
                    self.refresh_metadata(now);
                }
            }
            // A broker that is starting knows no brokers yet, not even itself.
            Ok(_) => self.refresh_metadata(now),
            Err(failure) => {
                self.fail_if_garbled(completion.target, &failure, now);
                self.refresh_metadata(now);
            }
        }
    }

    /// Drops the links that lead nowhere now: brokers that moved or are gone, and bootstrap addresses.
    fn adopt_brokers(&mut self, now: Instant) {
        let stale = |(target, link): (&Target, &Link)| {
            let moved = self.metadata.broker(target.broker).is_some_and(|endpoint| endpoint != link.endpoint());
            let gone = !target.is_bootstrap() && self.metadata.broker(target.broker).is_none() && link.is_down();
            (moved || gone || is_idle_bootstrap((target, link))).then_some(*target)
        };
        let stale: Vec<Target> = self.links.iter().filter_map(stale).collect();
        self.drop_links(stale, now);
        self.seek_absent(now);
    }

    /// Drops the connections to bootstrap addresses that were in use, or not made yet, when the cluster named its brokers: once
    /// one of those has answered, they are of no more use.
    pub(super) fn leave_bootstrap(&mut self, now: Instant) {
        let has_answered = |link: &Link| link.connection().is_some_and(Connection::has_answered);
        if self.links.iter().any(|(target, link)| self.is_named(*target) && has_answered(link)) {
            let idle = self.links.iter().filter(|link| is_idle_bootstrap(*link)).map(|(target, _)| *target).collect();
            self.drop_links(idle, now);
        }
    }

    /// Whether metadata names the broker.
    fn is_named(&self, target: Target) -> bool {
        self.metadata.broker(target.broker).is_some()
    }

    fn drop_links(&mut self, targets: Vec<Target>, now: Instant) {
        for target in targets {
            self.fail(target, &Failure::GivenUp, now);
            self.links.remove(&target);
        }
    }

    /// Opens a link to one known address; to the next when that failed or takes long.
    pub(super) fn try_candidate(&mut self, now: Instant) {
        let known: Vec<(i32, &Endpoint)> =
            self.metadata.broker_ids().filter_map(|id| Some((id, self.metadata.broker(id)?))).collect();
        // Addresses of the cluster's answer first; when all of them fail, the cluster has moved (KIP-899). One that is connected has
        // only too much in flight.
        let is_lost = !self.links.iter().any(|(target, link)| self.is_named(*target) && link.is_established());
        let given = if is_lost { self.settings.bootstrap.as_slice() } else { &[] };
        let bootstrap = given.iter().enumerate().map(|(index, endpoint)| (-1 - index as i32, endpoint));
        let candidates: Vec<(Target, Endpoint)> = known
            .into_iter()
            .chain(bootstrap)
            .map(|(broker, endpoint)| (Target { broker, lane: Lane::Main }, endpoint.clone()))
            .collect();
        if candidates.is_empty() {
            return;
        }
        let (target, _) = &candidates[self.refresh.candidate % candidates.len()];
        let resting = self.links.get(target).is_some_and(|link| link.is_resting(now));
        if resting || self.refresh.candidate_until.is_some_and(|until| until <= now) {
            self.refresh.candidate = self.refresh.candidate.wrapping_add(1);
            self.refresh.candidate_until = None;
        }
        let (target, endpoint) = &candidates[self.refresh.candidate % candidates.len()];
        self.links.entry(*target).or_insert_with(|| Link::new(endpoint.clone())).want();
        self.refresh.candidate_until.get_or_insert(now + CANDIDATE_PATIENCE);
    }
}

/// What is in flight in a handshake nobody waits for.
fn is_idle_bootstrap((target, link): (&Target, &Link)) -> bool {
    let is_in_use = |connection: &Connection| connection.is_established() && connection.in_flight() > 0;
    target.is_bootstrap() && !link.connection().is_some_and(is_in_use)
}
