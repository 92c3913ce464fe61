//! The brokers as one: connections by target, metadata, coordinator, and who asked what.

mod coordinator;
mod refresh;
mod watch;

use self::coordinator::Coordinator;
use self::refresh::Refresh;
use self::watch::Watch;
use super::backoff::Backoff;
use super::connection::{Answer, Connection, Ticket};
use super::error::{Api, Failure};
use super::link::{Lane, Link, Target};
use super::metadata::Metadata;
use super::settings::{Endpoint, Settings};
use super::versions::Versions;
use bytes::Bytes;
use kafka_protocol::protocol::Request;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Who sent a request, and is given its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The cluster itself.
    Cluster,
    /// The producer.
    Producer,
    /// The consumer.
    Consumer,
    /// A command that creates or lists topics.
    Admin,
}

const OWNERS: usize = 4;

/// No broker is believed that wants to be left alone for longer.
const THROTTLE_MAX: Duration = Duration::from_secs(3600);

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// Which request.
    pub ticket: Ticket,
    /// Where it went.
    pub target: Target,
    /// The answer; or why there is none, in which case the broker may still have done what was asked.
    pub result: Result<Answer, Failure>,
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    links: BTreeMap<Target, Link>,
    metadata: Metadata,
    refresh: Refresh,
    coordinator: Coordinator,
    owners: BTreeMap<Ticket, Owner>,
    completions: [VecDeque<Completion>; OWNERS],
    backoff: Backoff,
    tickets: u64,
    errors: u64,
    watch: Watch,
}

impl Cluster {
    /// A cluster of which nothing is known but the bootstrap addresses.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        let backoff = Backoff::new(settings.backoff_first, settings.backoff_max, settings.jitter_seed);
        let refresh = Refresh {
            at: now,
            last: None,
            in_flight: None,
            urgent: 0,
            succeeded: false,
            candidate: 0,
            candidate_until: None,
        };
        Self {
            settings,
            links: BTreeMap::new(),
            metadata: Metadata::default(),
            refresh,
            coordinator: Coordinator::default(),
            owners: BTreeMap::new(),
            completions: Default::default(),
            backoff,
            tickets: 0,
            errors: 0,
            watch: Watch::default(),
        }
    }

    /// What it was told at the start.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Brokers, topics, leaders.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A delay after so many failures in a row.
    pub fn backoff(&mut self, failures: u32) -> Duration {
        self.backoff.delay(failures)
    }

    /// Whether metadata has been had and a broker can be talked to.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.refresh.succeeded && self.links.values().any(Link::is_established)
    }

    /// Lost connections, failed attempts and refused metadata since the start.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Why a broker cannot be talked to, for those that cannot.
    pub fn problems(&self) -> impl Iterator<Item = (&Endpoint, &Failure)> {
        self.links.values().filter_map(|link| Some((link.endpoint(), link.last_failure()?)))
    }

    /// Whether every address was refused for a reason that time does not mend.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let hopeless = self.links.values().filter(|link| link.is_hopeless()).count();
        !self.is_connected() && hopeless >= self.settings.bootstrap.len()
    }

    // ---- requests --------------------------------------------------------------------------------------------------

    /// What the target's broker knows, if a request may be sent to it now. Otherwise a connection is opened, and this is to
    /// be asked again at a later poll.
    pub fn ready(&mut self, target: Target) -> Option<&Versions> {
        let link = match self.links.entry(target) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                // A coordinator may be newer than the metadata, which comes first all the same: a group is of topics.
                let newer = self.coordinator.endpoint(target.broker).filter(|_| self.refresh.succeeded);
                entry.insert(Link::new(self.metadata.broker(target.broker).or(newer)?.clone()))
            }
        };
        link.want();
        link.connection().filter(|connection| connection.is_ready()).map(Connection::versions)
    }

    /// The version to send a request of type `R` in, if it may be sent now; as [`Self::ready`]. A broker that knows none of ours
    /// is of no use: its link fails.
    pub fn version<R: Request>(&mut self, target: Target, now: Instant) -> Option<i16> {
        match self.ready(target)?.highest::<R>() {
            Ok(version) => Some(version),
            Err(failure) => {
                self.fail(target, &failure, now);
                None
            }
        }
    }

    /// A broker that a request may be sent to now, the one with the fewest in flight; a bootstrap address where there is no other.
    /// While there is none, one after the other is tried.
    pub fn any_broker(&mut self, now: Instant) -> Option<Target> {
        let ready = self.links.iter().filter_map(|(target, link)| {
            let connection = link.connection().filter(|connection| connection.is_ready())?;
            Some((target.is_bootstrap(), connection.in_flight(), *target)).filter(|_| target.lane == Lane::Main)
        });
        let best = ready.min().map(|(.., target)| target);
        if best.is_none() {
            self.try_candidate(now);
        }
        best
    }

    /// Sends a request in a version that [`Self::ready`]'s answer gave. Its [`Completion`] is handed to `owner`, always.
    ///
    /// # Errors
    /// The target is not ready, or a field is set that the version does not have. Nothing was sent.
    pub fn send<R: Request>(
        &mut self,
        owner: Owner,
        target: Target,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<Ticket, Failure> {
        self.issue(owner, target, |connection, ticket| connection.send(ticket, request, version, deadline))
    }

    /// As [`Self::send`], with a body encoded by the caller, in pieces that are not copied.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_encoded<R: Request>(
        &mut self,
        owner: Owner,
        target: Target,
        version: i16,
        deadline: Instant,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<Ticket, Failure> {
        let api = Api(R::KEY);
        self.issue(owner, target, |connection, ticket| connection.send_encoded(ticket, api, version, deadline, body))
    }

    fn issue(
        &mut self,
        owner: Owner,
        target: Target,
        send: impl FnOnce(&mut Connection, Ticket) -> Result<(), Failure>,
    ) -> Result<Ticket, Failure> {
        let connection =
            self.links.get_mut(&target).and_then(Link::connection_mut).filter(|connection| connection.is_ready());
        let ticket = Ticket(self.tickets);
        send(connection.ok_or(Failure::GivenUp)?, ticket)?;
        self.tickets += 1;
        self.owners.insert(ticket, owner);
        Ok(ticket)
    }

    /// The next request of `owner` that has ended, in the order of their ends.
    pub fn next_completion(&mut self, owner: Owner) -> Option<Completion> {
        self.completions[owner as usize].pop_front()
    }

    /// The answer to a request in `version` said that the broker throttles us. Before the version `since` the broker did so itself,
    /// by answering late.
    pub fn throttled(&mut self, target: Target, (version, since): (i16, i16), throttle_ms: i32, now: Instant) {
        let throttle = Duration::from_millis(u64::try_from(throttle_ms).unwrap_or_default()).min(THROTTLE_MAX);
        if let Some(connection) = self.connection_mut(target).filter(|_| version >= since && !throttle.is_zero()) {
            connection.mute(throttle, now);
        }
    }

    fn complete(&mut self, ticket: Ticket, target: Target, result: Result<Answer, Failure>) {
        if let Some(owner) = self.owners.remove(&ticket) {
            self.completions[owner as usize].push_back(Completion { ticket, target, result });
        }
    }

    // ---- links -----------------------------------------------------------------------------------------------------

    /// A link whose answer cannot be read is of no use; one that failed has been taken down already.
    fn fail_if_garbled(&mut self, target: Target, failure: &Failure, now: Instant) {
        if matches!(failure, Failure::Garbled { .. }) {
            self.fail(target, failure, now);
        }
    }

    /// Takes a link down; its requests complete with the failure. For a driver, and for an owner that was sent nonsense.
    pub fn fail(&mut self, target: Target, failure: &Failure, now: Instant) {
        let Some(link) = self.links.get_mut(&target).filter(|link| !link.is_down()) else { return };
        let is_deliberate = *failure == Failure::GivenUp;
        // A broker closes a connection that nobody uses (`connections.max.idle.ms`), or because it stops, which one attempt shows.
        let idle = link.connection().filter(|connection| connection.is_established() && connection.in_flight() == 0);
        let idle = idle.filter(|_| !is_deliberate && failure.is_absence());
        let shall_show = idle.is_some_and(Connection::has_answered) && !target.is_bootstrap();
        let given_up = is_deliberate || idle.is_some();
        let failures = if given_up { 0 } else { link.failures().saturating_add(1) };
        if !given_up {
            self.errors += 1;
            self.watch.failed(link.endpoint(), failure, failures, now);
        }
        let until = now + self.backoff.delay(failures);
        let connection = link.fail(if given_up { Failure::GivenUp } else { failure.clone() }, Some(until));
        if shall_show {
            link.want();
        }
        if !target.is_bootstrap() && !is_deliberate {
            self.refresh_metadata(now);
            // The cluster may name one that is gone, until it has found that out itself.
            if self.coordinator.endpoint(target.broker).is_some() {
                self.forget_coordinator(now);
            }
        }
        let Some(mut connection) = connection else { return };
        while let Some((ticket, answer)) = connection.next_answer() {
            self.complete(ticket, target, Ok(answer));
        }
        for ticket in connection.abandoned() {
            self.complete(ticket, target, Err(failure.clone()));
        }
    }

    /// The links whose socket should be opened now; each is `Opening` from here on.
    pub fn to_open(&mut self, now: Instant) -> Option<(Target, Endpoint, u64)> {
        let (target, link) = self.links.iter_mut().find(|(_, link)| link.should_open(now))?;
        link.open(now + self.settings.connect_timeout);
        Some((*target, link.endpoint().clone(), link.generation()))
    }

    /// The socket of a link has been connected (and TLS is as good as there).
    pub fn connected(&mut self, target: Target, now: Instant) {
        if let Some(link) = self.links.get_mut(&target) {
            link.connected(Connection::new(&self.settings, now));
        }
    }

    /// Whether the socket of this number is still the link's.
    #[must_use]
    pub fn is_current(&self, target: Target, generation: u64) -> bool {
        self.links.get(&target).is_some_and(|link| link.generation() == generation && !link.is_down())
    }

    /// The connection of a target, for bytes to go in and out.
    pub fn connection_mut(&mut self, target: Target) -> Option<&mut Connection> {
        self.links.get_mut(&target).and_then(Link::connection_mut)
    }

    /// Lets time pass: collects answers, times out, refreshes. Bounded by what is in flight.
    pub fn poll(&mut self, now: Instant) {
        let targets: Vec<Target> = self.links.keys().copied().collect();
        for target in targets {
            let Some(link) = self.links.get_mut(&target) else { continue };
            if let Err(failure) = link.poll(now) {
                self.fail(target, &failure, now);
                continue;
            }
            let answering = link.connection().is_some_and(Connection::has_answered);
            if let Some(since) = link.established_since().filter(|_| answering) {
                self.watch.answered(link.endpoint(), since, now);
            }
            while let Some((ticket, answer)) = self.connection_mut(target).and_then(Connection::next_answer) {
                self.complete(ticket, target, Ok(answer));
            }
        }
        self.leave_bootstrap(now);
        self.poll_metadata(now);
        self.poll_coordinator(now);
        self.show_trouble(now);
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let links = self.links.values().filter_map(|link| link.deadline(now));
        let refresh = self.refresh.in_flight.is_none().then_some(self.refresh.at).filter(|at| *at > now);
        let coordinator = self.coordinator.at.filter(|at| *at > now);
        links.chain(refresh).chain(self.refresh.candidate_until.filter(|at| *at > now)).chain(coordinator).min()
    }
}
