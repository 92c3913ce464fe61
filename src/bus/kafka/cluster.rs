//! The brokers as one: connections by target, metadata, coordinator, and who asked what.

use super::backoff::Backoff;
use super::connection::{Answer, Connection, Ticket};
use super::error::{Api, Failure};
use super::link::{Lane, Link, Target};
use super::metadata::Metadata;
use super::settings::{Endpoint, Settings};
use super::versions::Versions;
use bytes::Bytes;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use std::collections::{BTreeMap, HashMap, VecDeque};
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
    /// Brokers whose failure has been logged, until one connection to them is back; and whether it is an absence.
    told: HashMap<Endpoint, bool>,
}

/// When metadata is asked for.
#[derive(Debug)]
struct Refresh {
    at: Instant,
    last: Option<Instant>,
    in_flight: Option<Ticket>,
    /// Asked for early so often in a row.
    urgent: u32,
    succeeded: bool,
    /// Which known address is tried while none is connected, and until when before the next is tried too.
    candidate: usize,
    candidate_until: Option<Instant>,
}

/// Where the group is coordinated.
#[derive(Debug, Default)]
struct Coordinator {
    group: Option<StrBytes>,
    broker: Option<i32>,
    in_flight: Option<Ticket>,
    at: Option<Instant>,
    failures: u32,
}

/// How long one address is given before the next is tried beside it.
const CANDIDATE_PATIENCE: Duration = Duration::from_millis(500);
/// Early refreshes further apart than this are not in a row.
const URGENT_WINDOW: Duration = Duration::from_secs(5);

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
            told: HashMap::new(),
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

    // ---- requests --------------------------------------------------------------------------------------------------

    /// What the target's broker knows, if a request may be sent to it now. Otherwise a connection is opened, and this is to
    /// be asked again at a later poll.
    pub fn ready(&mut self, target: Target) -> Option<&Versions> {
        let link = match self.links.entry(target) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Link::new(self.metadata.broker(target.broker)?.clone()))
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

    /// A broker that a request may be sent to now, the one with the fewest in flight. While there is none, one after the
    /// other is tried.
    pub fn any_broker(&mut self, now: Instant) -> Option<Target> {
        let ready = self.links.iter().filter_map(|(target, link)| {
            let connection = link.connection().filter(|connection| connection.is_ready())?;
            Some((connection.in_flight(), *target)).filter(|(_, target)| target.lane == Lane::Main)
        });
        let best = ready.min().map(|(_, target)| target);
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

    fn complete(&mut self, ticket: Ticket, target: Target, result: Result<Answer, Failure>) {
        if let Some(owner) = self.owners.remove(&ticket) {
            self.completions[owner as usize].push_back(Completion { ticket, target, result });
        }
    }

    // ---- metadata --------------------------------------------------------------------------------------------------

    /// Asks for a topic's partitions and leaders from now on.
    pub fn want_topic(&mut self, name: &str, now: Instant) {
        if self.metadata.want(name) {
            self.refresh.at = self.refresh.at.min(now);
        }
    }

    /// Whether a broker may create a topic that is asked for; see [`Settings::auto_create_topics`].
    pub const fn set_auto_create(&mut self, may: bool) {
        self.settings.auto_create_topics = may;
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

    fn poll_metadata(&mut self, now: Instant) {
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
        let Some(target) = self.any_broker(now) else { return };
        let Some(version) = self.version::<MetadataRequest>(target, now) else { return };
        let by_name = |name| MetadataRequestTopic::default().with_name(Some(name));
        let mut request = MetadataRequest::default().with_topics(Some(self.metadata.wanted().map(by_name).collect()));
        if version >= 4 {
            request.allow_auto_topic_creation = self.settings.auto_create_topics;
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
        self.refresh.at = now + self.settings.metadata_max_age;
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
            let gone = target.broker >= 0 && self.metadata.broker(target.broker).is_none() && link.is_down();
            let done = target.broker < 0 && link.connection().is_none_or(|connection| connection.in_flight() == 0);
            (moved || gone || done).then_some(*target)
        };
        let stale: Vec<Target> = self.links.iter().filter_map(stale).collect();
        for target in stale {
            self.fail(target, &Failure::GivenUp, now);
            self.links.remove(&target);
        }
    }

    /// Opens a link to one known address; to the next when that failed or takes long.
    fn try_candidate(&mut self, now: Instant) {
        let known: Vec<(i32, &Endpoint)> =
            self.metadata.broker_ids().filter_map(|id| Some((id, self.metadata.broker(id)?))).collect();
        // Addresses of the cluster's answer first; when all of them fail, the cluster has moved (KIP-899).
        let bootstrap = self.settings.bootstrap.iter().enumerate().map(|(index, endpoint)| (-1 - index as i32, endpoint));
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

    // ---- coordinator -----------------------------------------------------------------------------------------------

    /// The broker that coordinates `group`; looked for while it is unknown. A client is a member of one group at most.
    pub fn coordinator(&mut self, group: &str) -> Option<i32> {
        if self.coordinator.group.as_deref() != Some(group) {
            self.coordinator = Coordinator { group: Some(StrBytes::from_string(group.into())), ..Coordinator::default() };
        }
        self.coordinator.broker
    }

    /// The coordinator has moved or is away: it is looked for again.
    pub fn forget_coordinator(&mut self, now: Instant) {
        if self.coordinator.broker.take().is_some() {
            self.coordinator.at = Some(now + self.backoff.delay(0));
        }
    }

    fn poll_coordinator(&mut self, now: Instant) {
        let Coordinator { group: Some(group), broker: None, in_flight: None, at, .. } = &self.coordinator else { return };
        if at.is_some_and(|at| at > now) {
            return;
        }
        let group = group.clone();
        let Some(target) = self.any_broker(now) else { return };
        let Some(version) = self.version::<FindCoordinatorRequest>(target, now) else { return };
        let request = match version {
            4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![group]),
            _ => FindCoordinatorRequest::default().with_key(group),
        };
        match self.send(Owner::Cluster, target, &request, version, now + self.settings.request_timeout) {
            Ok(ticket) => self.coordinator.in_flight = Some(ticket),
            Err(failure) => self.fail(target, &failure, now),
        }
    }

    fn take_coordinator(&mut self, completion: Completion, now: Instant) {
        self.coordinator.in_flight = None;
        let answer = completion.result.and_then(Answer::decode::<FindCoordinatorRequest>);
        match answer.map(|answer| found_coordinator(&answer)) {
            Ok(Some((broker, endpoint))) => {
                self.coordinator.broker = Some(broker);
                self.coordinator.failures = 0;
                if self.metadata.broker(broker) != Some(&endpoint) {
                    self.refresh_metadata(now);
                }
                return;
            }
            Ok(None) => {}
            Err(failure) => self.fail_if_garbled(completion.target, &failure, now),
        }
        self.coordinator.failures = self.coordinator.failures.saturating_add(1);
        self.coordinator.at = Some(now + self.backoff.delay(self.coordinator.failures));
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
        let given_up = *failure == Failure::GivenUp;
        let failures = if given_up { 0 } else { link.failures().saturating_add(1) };
        if !given_up {
            self.errors += 1;
            tell(&mut self.told, link.endpoint(), failure, failures);
        }
        let until = now + self.backoff.delay(failures);
        let connection = link.fail(failure.clone(), Some(until));
        if target.broker >= 0 && !given_up {
            self.refresh_metadata(now);
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
            let was_failing = link.last_failure().is_some();
            if let Err(failure) = link.poll(now) {
                self.fail(target, &failure, now);
                continue;
            }
            if was_failing && link.last_failure().is_none() && self.told.remove(link.endpoint()).is_some() {
                log::info!("Kafka broker {}: connected", link.endpoint());
            }
            while let Some((ticket, answer)) = self.connection_mut(target).and_then(Connection::next_answer) {
                self.complete(ticket, target, Ok(answer));
            }
        }
        self.poll_metadata(now);
        self.poll_coordinator(now);
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

/// Logs a failure of a broker once, however many connections to it fail and whatever becomes of the attempts to connect
/// again; once more when it is of another kind: it is there, and refuses us.
fn tell(told: &mut HashMap<Endpoint, bool>, endpoint: &Endpoint, failure: &Failure, failures: u32) {
    let is_absence = failure.is_absence();
    let is_late_echo = is_absence && failures > 1;
    if is_late_echo || told.get(endpoint) == Some(&is_absence) {
        log::debug!("Kafka broker {endpoint}: {failure}");
        return;
    }
    told.insert(endpoint.clone(), is_absence);
    log::warn!("Kafka broker {endpoint}: {failure}");
}

/// The coordinator, where the answer names one.
fn found_coordinator(answer: &FindCoordinatorResponse) -> Option<(i32, Endpoint)> {
    let (code, id, host, port) = match answer.coordinators.first() {
        Some(first) => (first.error_code, first.node_id.0, &first.host, first.port),
        None => (answer.error_code, answer.node_id.0, &answer.host, answer.port),
    };
    let endpoint = Endpoint { host: host.to_string(), port: port.try_into().ok()? };
    (code == 0 && id >= 0).then_some((id, endpoint))
}
