//! Membership in a consumer group: which partitions are ours, where to begin in them, how far we have come.
//!
//! ```text
//!                                             ┌ classic: JoinGroup, SyncGroup, Heartbeat
//!  coordinator found ── which protocol? ──────┤
//!                                             └ modern (KIP-848): one heartbeat for all
//!        assignment ──> what is lost is committed, then given up ──> OffsetFetch for what is new ──> read
//!        read, done ──> OffsetCommit every interval, before a rebalance and at the end
//! ```
//!
//! One request is in flight at a time, on a connection of its own, so the answers need no matching, and a commit never
//! overtakes the rebalance that voids it.

mod answers;
mod assign;
mod classic;
mod modern;
mod offsets;
mod reaction;
mod requests;
mod settings;
mod subscription;
mod trouble;

pub use offsets::Start;
pub use settings::GroupSettings;
pub use trouble::Trouble;

use super::backoff::Backoff;
use super::cluster::Cluster;
use super::connection::Ticket;
use super::error::Api;
use super::link::{Lane, Target};
use super::metadata::Metadata;
use super::settings::Settings;
use super::told::{LASTING, has_lasted};
use classic::Classic;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, FindCoordinatorRequest};
use kafka_protocol::protocol::{Request as _, StrBytes, VersionRange};
use modern::Modern;
use offsets::Offsets;
use std::time::Instant;
use trouble::Troubles;
use uuid::Uuid;

/// See the module.
#[derive(Debug)]
pub struct Group {
    settings: GroupSettings,
    member: Member,
    offsets: Offsets,
    assigned: Vec<i32>,
    /// Takes the place of `assigned` once what it lacks is committed.
    target: Option<Vec<i32>>,
    /// An assignment of the modern protocol, whose topics are named by id, until the ids are known.
    unresolved: Option<Vec<(Uuid, Vec<i32>)>>,
    revision: u64,
    /// JoinGroup or SyncGroup: parked at the coordinator until the other members have come to the same point.
    parked: Option<InFlight>,
    /// Whatever else is asked, meanwhile too.
    in_flight: Option<InFlight>,
    /// When the coordinator last confirmed that we are a member.
    confirmed: Option<Instant>,
    /// Since when no coordinator can be asked, though there is a cluster.
    unguided_since: Option<Instant>,
    commit_at: Option<Instant>,
    coordinator_moved: bool,
    /// The coordinator takes no commits until we have joined again.
    commits_refused: bool,
    rest_until: Option<Instant>,
    failures: u32,
    backoff: Backoff,
    troubles: Troubles,
    errors: u64,
    ending: Ending,
}

#[derive(Debug)]
enum Member {
    /// The coordinator has not been asked what it speaks.
    Undecided,
    Classic(Classic),
    Modern(Modern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Leaving,
    Over,
}

/// The request that has no answer yet.
#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    ask: Ask,
    /// Of the classic protocol, when it was sent.
    generation: i32,
    since: Instant,
}

/// What is asked of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Join,
    Sync,
    Heartbeat,
    ModernHeartbeat,
    ModernRelease,
    Leave,
    ModernLeave,
    FetchOffsets,
    Commit,
}

const FIND_COORDINATOR: Api = Api(FindCoordinatorRequest::KEY);
/// The first version of ConsumerGroupHeartbeat that is no preview: Kafka 4.0.
const MODERN_VERSION: i16 = 1;
impl Group {
    /// A process that is about to join; its delays are those of the client.
    #[must_use]
    pub fn new(settings: GroupSettings, client: &Settings) -> Self {
        Self {
            backoff: Backoff::new(client.backoff_first, client.backoff_max, client.jitter_seed),
            troubles: Troubles::new(&settings.group_id),
            settings,
            member: Member::Undecided,
            offsets: Offsets::default(),
            assigned: Vec::new(),
            target: None,
            unresolved: None,
            revision: 0,
            parked: None,
            in_flight: None,
            confirmed: None,
            unguided_since: None,
            commit_at: None,
            coordinator_moved: false,
            commits_refused: false,
            rest_until: None,
            failures: 0,
            errors: 0,
            ending: Ending::No,
        }
    }

    /// `group.id`
    #[must_use]
    pub fn id(&self) -> &str {
        &self.settings.group_id
    }

    /// The partitions that are ours, in order.
    #[must_use]
    pub fn assigned(&self) -> &[i32] {
        &self.assigned
    }

    /// Grows whenever partitions were given or taken.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Where reading a partition begins.
    #[must_use]
    pub fn start(&self, partition: i32) -> Start {
        self.offsets.start(partition)
    }

    /// Whether records of a partition may be handed out: it is ours, is not about to be taken, and nobody else can have it.
    #[must_use]
    pub fn may_deliver(&self, partition: i32, now: Instant) -> bool {
        let kept = |target: &Vec<i32>| target.contains(&partition);
        let session = self.settings.session_timeout;
        let (steady, certainty) = match &self.member {
            Member::Undecided => (false, session),
            // Eager: whoever joins gives everything up until it has been given out anew. Nobody reads on what cannot be committed.
            Member::Classic(classic) => (classic.is_stable() || (classic.is_cooperative() && classic.may_commit()), session),
            Member::Modern(modern) => (modern.is_member(), modern.certainty().min(session)),
        };
        let heard = self.confirmed.is_some_and(|at| now.saturating_duration_since(at) < certainty);
        self.ending == Ending::No
            && steady
            && heard
            && self.assigned.contains(&partition)
            && self.target.as_ref().is_none_or(kept)
    }

    /// The caller is done with everything of a partition before `next`; `leader_epoch` is that of the record before it.
    pub fn done(&mut self, partition: i32, next: i64, leader_epoch: i32) {
        self.offsets.done(partition, next, leader_epoch);
    }

    /// The topic is another one of the same name. Members of a classic group keep its partitions, whose number makes a leader give
    /// them out anew where it has changed; by the modern protocol they are other partitions, which have to be given first.
    pub fn begin_anew(&mut self) {
        self.offsets.begin_anew();
        match &mut self.member {
            Member::Modern(modern) => {
                modern.unheard();
                self.target = None;
                self.assigned.clear();
            }
            Member::Classic(_) | Member::Undecided => self.offsets.assign(&self.assigned),
        }
        self.revision += 1;
    }

    /// What keeps the membership from going on at present.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.troubles.present()
    }

    /// The same, once it has been logged: what passes within seconds is not.
    #[must_use]
    pub fn told_trouble(&self) -> Option<&Trouble> {
        self.troubles.told()
    }

    /// Refused and failed requests since the start.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// The id and the generation (or epoch) of the membership, while there is one.
    #[must_use]
    pub fn identity(&self) -> Option<(StrBytes, i32)> {
        match &self.member {
            Member::Classic(classic) if classic.generation >= 0 => Some((classic.member_id.clone(), classic.generation)),
            Member::Modern(modern) if modern.is_member() => Some((modern.member_id.clone(), modern.epoch)),
            _ => None,
        }
    }

    /// Commits, then leaves; a static member stays in the group for its next run. [`Self::is_over`] tells when it is done.
    pub const fn leave(&mut self) {
        if matches!(self.ending, Ending::No) {
            self.ending = Ending::Leaving;
            self.rest_until = None;
        }
    }

    /// Whether [`Self::leave`] has come to its end, or another process has taken our place for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.is_over() {
            return None;
        }
        if self.rest_until.is_some() {
            return self.rest_until;
        }
        let heartbeat = match &self.member {
            Member::Undecided => None,
            Member::Classic(classic) => classic.deadline(),
            Member::Modern(modern) => modern.deadline(),
        };
        heartbeat.into_iter().chain(self.commit_at.filter(|_| self.offsets.is_dirty())).min()
    }

    // ---- asking ----------------------------------------------------------------------------------------------------

    /// Sends at most one request.
    pub fn poll(&mut self, now: Instant, cluster: &mut Cluster) {
        self.watch_rebalance(now);
        if self.in_flight.is_some() || self.is_over() || self.rest_until.is_some_and(|until| until > now) {
            return;
        }
        self.rest_until = None;
        if self.ending == Ending::Leaving && self.identity().is_none() && self.parked.is_none() {
            self.ending = Ending::Over;
            return;
        }
        let Some(broker) = cluster.coordinator(&self.settings.group_id) else {
            // Without a coordinator there is nothing to commit to or to leave.
            if let Some(error) = cluster.take_coordinator_refusal() {
                self.troubles.begin(Trouble::Refused { api: FIND_COORDINATOR, error }, now);
                self.errors += 1;
            }
            return self.watch_coordinator(now, cluster);
        };
        if matches!(self.troubles.present(), Some(Trouble::Refused { api: FIND_COORDINATOR, .. })) {
            self.troubles.end(FIND_COORDINATOR);
        }
        // A broker works on nothing behind a parked request of the same connection.
        let lane = if self.parked.is_some() { Lane::Main } else { Lane::Group };
        let target = Target { broker, lane };
        let Some(versions) = cluster.ready(target) else { return self.watch_coordinator(now, cluster) };
        self.unguided_since = None;
        if matches!(self.member, Member::Undecided) {
            let modern = VersionRange { min: MODERN_VERSION, max: MODERN_VERSION };
            let offered = versions.highest_in::<ConsumerGroupHeartbeatRequest>(modern).is_ok();
            self.member = match self.settings.modern && offered {
                true => Member::Modern(Modern::new(&self.settings)),
                false => Member::Classic(Classic::new()),
            };
        }
        if let Member::Classic(classic) = &self.member {
            for topic in classic.topics() {
                cluster.want_topic(topic, now);
            }
        }
        if self.apply_target(cluster.metadata()) {
            cluster.refresh_metadata(now);
        }
        let Some(ask) = self.next(now, cluster.metadata()) else { return };
        if let Err(trouble) = self.send(ask, target, now, cluster) {
            self.fail(trouble, now);
        }
    }

    /// Nothing can be asked at present.
    fn watch_coordinator(&mut self, now: Instant, cluster: &Cluster) {
        let since = *self.unguided_since.get_or_insert(now);
        let lasts = cluster.connected_since().is_some_and(|connected| has_lasted(since, connected, now));
        if lasts && self.troubles.told().is_none() {
            self.troubles.begin(Trouble::NoCoordinator, now);
        }
    }

    fn watch_rebalance(&mut self, now: Instant) {
        if let Some(InFlight { since, .. }) = self.parked
            && since + LASTING <= now
            && self.troubles.present() != Some(&Trouble::Rebalancing)
        {
            self.troubles.begin(Trouble::Rebalancing, now);
        }
    }

    /// Replaces the assignment as soon as nothing of what is lost waits to be committed. Whether the coordinator gives partitions of
    /// a topic that metadata does not tell of yet: one that was created anew.
    fn apply_target(&mut self, metadata: &Metadata) -> bool {
        let mut unknown = false;
        if let Some(topic) = metadata.topic(&self.settings.topic)
            && !topic.id.is_nil()
            && let Some(unresolved) = &self.unresolved
        {
            let ours = unresolved.iter().filter(|(id, _)| *id == topic.id);
            let mut target: Vec<i32> = ours.flat_map(|(_, partitions)| partitions).copied().collect();
            target.sort_unstable();
            self.target = Some(target);
            unknown = unresolved.iter().any(|(id, _)| *id != topic.id);
            if !unknown {
                self.unresolved = None;
            }
        }
        self.take_target(metadata);
        unknown
    }

    /// -1 while there is none.
    const fn generation(&self) -> i32 {
        match &self.member {
            Member::Classic(classic) => classic.generation,
            Member::Undecided | Member::Modern(_) => -1,
        }
    }

    fn take_target(&mut self, metadata: &Metadata) {
        let no_commits = self.commits_refused || is_gone(metadata, &self.settings.topic);
        let settled = |target: &mut Vec<i32>| no_commits || !self.offsets.is_dirty_outside(target);
        let Some(target) = self.target.take_if(settled) else { return };
        let lost = self.assigned.iter().any(|partition| !target.contains(partition));
        if target != self.assigned {
            self.revision += 1;
        }
        self.offsets.assign(&target);
        self.assigned = target;
        if let Member::Classic(classic) = &mut self.member
            && classic.is_cooperative()
            && lost
        {
            // What was given up is given to others in a second round.
            classic.rejoin();
        }
    }

    fn next(&mut self, now: Instant, metadata: &Metadata) -> Option<Ask> {
        let (wants_to_join, is_committable) = match &self.member {
            Member::Classic(classic) => (classic.wants_to_join(), classic.may_commit()),
            Member::Modern(modern) if modern.wants_to_release() => return Some(Ask::ModernRelease),
            Member::Modern(modern) if modern.is_unheard() && self.ending == Ending::No => return Some(Ask::ModernHeartbeat),
            _ => (false, true),
        };
        let wants_to_join = wants_to_join && self.parked.is_none();
        let urgent = self.target.is_some() || self.ending == Ending::Leaving || wants_to_join;
        let takes_commits = is_committable && !self.commits_refused && !is_gone(metadata, &self.settings.topic);
        let may_commit = takes_commits && self.identity().is_some() && self.offsets.is_dirty();
        if may_commit && urgent {
            return Some(Ask::Commit);
        }
        let is_commit_due = may_commit && self.commit_at.is_none_or(|at| at <= now);
        // Between the two halves of a rebalance nothing can be committed: the second one is waited for.
        if self.ending == Ending::Leaving && (is_committable || !self.offsets.is_dirty()) {
            return Some(if matches!(self.member, Member::Modern(_)) { Ask::ModernLeave } else { Ask::Leave });
        }
        if self.parked.is_some() {
            return is_commit_due.then_some(Ask::Commit);
        }
        let membership = match &mut self.member {
            Member::Classic(classic) => match classic.next(now, &self.settings, &partitions_of(metadata)) {
                classic::Next::Join => Some(Ask::Join),
                classic::Next::Sync => Some(Ask::Sync),
                classic::Next::Heartbeat => Some(Ask::Heartbeat),
                classic::Next::Nothing => None,
            },
            Member::Modern(modern) => modern.is_due(now, &self.assigned).then_some(Ask::ModernHeartbeat),
            Member::Undecided => None,
        };
        if membership.is_some() {
            return membership;
        }
        if is_commit_due {
            return Some(Ask::Commit);
        }
        (self.identity().is_some() && !self.offsets.unknown().is_empty()).then_some(Ask::FetchOffsets)
    }
}

/// Whether a topic was deleted: nothing can be committed of it, and if it is created again, nothing of the one before may be.
fn is_gone(metadata: &Metadata, topic: &str) -> bool {
    let error = metadata.topic(topic).and_then(|topic| ResponseError::try_from_code(topic.error_code));
    error == Some(ResponseError::UnknownTopicOrPartition)
}

/// How many partitions a topic has, as far as metadata tells.
fn partitions_of(metadata: &Metadata) -> impl Fn(&str) -> Option<usize> {
    |topic| metadata.topic(topic).map(|topic| topic.partitions.len()).filter(|count| *count > 0)
}
