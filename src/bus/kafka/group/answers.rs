//! What the coordinator's answers change.

use super::super::cluster::{Cluster, Completion};
use super::super::connection::Answer;
use super::super::error::{Api, Failure};
use super::classic::Classic;
use super::modern::NotHeld;
use super::reaction::Reaction;
use super::{Ask, Ending, Group, InFlight, Member, Trouble};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::Request;
use std::time::Instant;

impl Group {
    /// Takes the end of a request; hands it back when it was none of ours.
    pub fn complete(&mut self, completion: Completion, now: Instant, cluster: &mut Cluster) -> Option<Completion> {
        let is_answered = |request: &mut InFlight| request.ticket == completion.ticket;
        let answered = self.in_flight.take_if(is_answered).or_else(|| self.parked.take_if(is_answered));
        let Some(request) = answered else { return Some(completion) };
        let outcome = completion.result.and_then(|answer| self.take(&request, answer, now));
        match outcome {
            Ok(()) => {}
            Err(failure) => {
                if let Member::Modern(modern) = &mut self.member {
                    modern.unheard();
                }
                if matches!(failure, Failure::Garbled { .. }) {
                    cluster.fail(completion.target, &failure, now);
                }
                cluster.forget_coordinator(now);
                self.fail(failure.into(), now);
            }
        }
        if std::mem::take(&mut self.coordinator_moved) {
            cluster.forget_coordinator(now);
        }
        None
    }

    /// Takes an answer.
    fn take(&mut self, request: &InFlight, answer: Answer, now: Instant) -> Result<(), Failure> {
        match request.ask {
            Ask::Join => {
                let answer = answer.decode::<JoinGroupRequest>()?;
                if let (Some(ResponseError::MemberIdRequired), Member::Classic(classic)) =
                    (ResponseError::try_from_code(answer.error_code), &mut self.member)
                {
                    classic.named(answer.member_id);
                    return Ok(());
                }
                if self.succeeded::<JoinGroupRequest>(answer.error_code, now) {
                    self.confirmed = Some(now);
                    self.commits_refused = false;
                    let taken = match &mut self.member {
                        Member::Classic(classic) => classic.joined(now, &answer),
                        _ => Ok(()),
                    };
                    self.check_format(taken, now);
                }
            }
            Ask::Sync => {
                let answer = answer.decode::<SyncGroupRequest>()?;
                if self.succeeded::<SyncGroupRequest>(answer.error_code, now)
                    && let Member::Classic(classic) = &mut self.member
                {
                    self.confirmed = Some(now);
                    match classic.synced(now, &self.settings, &answer) {
                        Ok(target) => self.target = Some(target),
                        Err(error) => self.check_format(Err(error), now),
                    }
                }
            }
            Ask::Heartbeat => {
                let answer = answer.decode::<HeartbeatRequest>()?;
                if self.succeeded::<HeartbeatRequest>(answer.error_code, now) {
                    self.confirmed = Some(now);
                }
            }
            Ask::ModernHeartbeat => {
                let answer = answer.decode::<ConsumerGroupHeartbeatRequest>()?;
                if self.succeeded::<ConsumerGroupHeartbeatRequest>(answer.error_code, now)
                    && let Member::Modern(modern) = &mut self.member
                {
                    self.confirmed = Some(now);
                    self.commits_refused = false;
                    if let Some(assignment) = modern.heard(now, &answer) {
                        self.unresolved = Some(assignment);
                    }
                }
            }
            Ask::ModernRelease => {
                let answer = answer.decode::<ConsumerGroupHeartbeatRequest>()?;
                self.released(answer.error_code, now);
            }
            Ask::Leave | Ask::ModernLeave => self.ending = Ending::Over,
            Ask::FetchOffsets => {
                let answer = answer.decode::<OffsetFetchRequest>()?;
                let error_code = self.offsets.fetched(&answer);
                self.succeeded::<OffsetFetchRequest>(error_code, now);
            }
            Ask::Commit => {
                let answer = answer.decode::<OffsetCommitRequest>()?;
                let error_code = self.offsets.committed(&answer);
                self.commit_at = Some(now + self.settings.commit_interval);
                // The answers come by two connections, in whatever order.
                let is_overtaken = self.parked.is_some() || request.generation != self.generation();
                if is_overtaken && ResponseError::try_from_code(error_code) == Some(ResponseError::IllegalGeneration) {
                    // The rebalance came to its end first: it is committed in the next generation.
                    self.pause(now);
                    return Ok(());
                }
                self.succeeded::<OffsetCommitRequest>(error_code, now);
            }
        }
        Ok(())
    }

    /// Whether the error code is 0; otherwise does what it calls for.
    fn succeeded<R: Request>(&mut self, error_code: i16, now: Instant) -> bool {
        let Some(error) = ResponseError::try_from_code(error_code) else {
            self.failures = 0;
            self.troubles.end(Api(R::KEY));
            return true;
        };
        let api = Api(R::KEY);
        let reaction = Reaction::to(api, error);
        match reaction {
            Reaction::Rejoin if matches!(self.member, Member::Classic(_)) => {
                log::info!("consumer group {}: a rebalance", self.settings.group_id);
            }
            // After a restart it is no news.
            Reaction::Release if self.settings.instance_id.is_some() => self.pause(now),
            Reaction::Stop => {}
            _ => self.fail(Trouble::Refused { api, error }, now),
        }
        match reaction {
            Reaction::Retry => {}
            Reaction::FindCoordinator => self.coordinator_moved = true,
            Reaction::Release => {
                if let Member::Modern(modern) = &mut self.member {
                    modern.unreleased();
                }
            }
            Reaction::Heartbeat => {
                if let Member::Modern(modern) = &mut self.member {
                    modern.unheard();
                }
            }
            Reaction::RetryLater => self.rest_until = Some(now + self.settings.backoff_refused),
            Reaction::Rejoin => {
                // The coordinator takes no more commits of this generation once it waits for the leader.
                self.commits_refused |= R::KEY == OffsetCommitRequest::KEY;
                if let Member::Classic(classic) = &mut self.member {
                    classic.rejoin();
                }
            }
            Reaction::JoinAfresh => self.join_afresh(),
            Reaction::UseClassic => {
                self.join_afresh();
                self.member = Member::Classic(Classic::new());
            }
            Reaction::Stop => self.stop(now),
        }
        false
    }

    /// Takes what the coordinator says of the one whom we declared gone.
    fn released(&mut self, error_code: i16, now: Instant) {
        let Member::Modern(modern) = &mut self.member else { return };
        match ResponseError::try_from_code(error_code) {
            None | Some(ResponseError::UnknownMemberId | ResponseError::GroupIdNotFound) => modern.released(),
            // It is not that one who has our name.
            Some(ResponseError::FencedInstanceId) => match modern.not_held() {
                NotHeld::AskNext => {}
                NotHeld::ByAnother if modern.has_joined() => self.stop(now),
                NotHeld::ByAnother => {
                    self.fail(Trouble::NameTaken { instance_id: self.instance_id() }, now);
                    self.rest_until = Some(now + self.settings.heartbeat_interval);
                }
            },
            Some(_) => _ = self.succeeded::<ConsumerGroupHeartbeatRequest>(error_code, now),
        }
    }

    /// Another process has our name: to join again would put that one out, and so forth.
    fn stop(&mut self, now: Instant) {
        self.fail(Trouble::Replaced { instance_id: self.instance_id() }, now);
        self.join_afresh();
        self.ending = Ending::Over;
    }

    fn instance_id(&self) -> String {
        self.settings.instance_id.clone().unwrap_or_default()
    }

    /// The partitions are no longer ours, and nothing of them can be committed.
    fn join_afresh(&mut self) {
        match &mut self.member {
            Member::Undecided => {}
            Member::Classic(classic) => classic.forget(),
            Member::Modern(modern) => modern.forget(),
        }
        self.assigned.clear();
        self.offsets.assign(&[]);
        self.target = None;
        self.unresolved = None;
        self.confirmed = None;
        self.revision += 1;
    }

    /// What a member sent us makes no sense: the rebalance is tried again, after a delay.
    fn check_format(&mut self, taken: Result<(), String>, now: Instant) {
        if let Err(error) = taken {
            if let Member::Classic(classic) = &mut self.member {
                classic.rejoin();
            }
            self.fail(Trouble::Format(error), now);
        }
    }

    pub(super) fn fail(&mut self, trouble: Trouble, now: Instant) {
        self.troubles.begin(trouble, now);
        self.errors += 1;
        self.pause(now);
    }

    fn pause(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.rest_until = Some(now + self.backoff.delay(self.failures));
    }
}
