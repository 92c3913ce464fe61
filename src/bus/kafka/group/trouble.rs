//! What keeps the membership from going on, and what of it has been said.

use super::super::error::{Api, Failure};
use super::reaction::Reaction;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, JoinGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::Request;
use std::time::{Duration, Instant};

/// What keeps the membership from going on, until the next success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The coordinator refused a request.
    #[error("{api}: {error}")]
    Refused {
        /// Which request.
        api: Api,
        /// Why.
        error: ResponseError,
    },
    /// The request was not answered, or could not be sent.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// What came, or what was to be sent, does not fit the format.
    #[error("{0}")]
    Format(String),
    /// No coordinator can be asked, though there is a cluster.
    #[error("no orders are read: the broker that coordinates the group cannot be reached")]
    NoCoordinator,
    /// The coordinator has not brought a rebalance to its end.
    #[error(
        "a rebalance waits for a member that is silent; until it is over, no orders are read of partitions that are new here"
    )]
    Rebalancing,
    /// Another process is a member under our `group.instance.id`, and was so before us.
    #[error(
        "no orders are read: another instance is alive under the group_instance_id `{instance_id}`, or one was killed and its \
         session (group.consumer.session.timeout.ms of the broker, 45 s unless changed) has not ended"
    )]
    NameTaken {
        /// The name.
        instance_id: String,
    },
    /// Another process has become a member under our `group.instance.id`.
    #[error("no more orders are read: another instance has taken over the group_instance_id `{instance_id}`")]
    Replaced {
        /// The name.
        instance_id: String,
    },
}

impl Trouble {
    /// Whether it comes and goes of itself where brokers start, stop and move.
    fn is_passing(&self) -> bool {
        match self {
            Self::Refused { api, error } => matches!(
                Reaction::to(*api, *error),
                Reaction::Retry | Reaction::FindCoordinator | Reaction::Heartbeat | Reaction::Release
            ),
            Self::Failed(failure) => failure.is_absence(),
            Self::Format(_) | Self::NoCoordinator | Self::Rebalancing | Self::NameTaken { .. } | Self::Replaced { .. } => {
                false
            }
        }
    }

    /// Whether it is over once a request of this kind has succeeded.
    fn ends_with(&self, succeeded: Api) -> bool {
        match self {
            // Other requests may be allowed all the while.
            Self::Refused { api, error } if Reaction::to(*api, *error) == Reaction::RetryLater => *api == succeeded,
            Self::Refused { .. } | Self::Failed(_) | Self::Format(_) | Self::NoCoordinator => true,
            // What is committed meanwhile does not end it.
            Self::Rebalancing => [JoinGroupRequest::KEY, SyncGroupRequest::KEY].contains(&succeeded.0),
            Self::NameTaken { .. } => succeeded.0 == ConsumerGroupHeartbeatRequest::KEY,
            Self::Replaced { .. } => false,
        }
    }

    /// Whether it has been logged already, for all that use the broker.
    fn is_told_elsewhere(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_absence())
    }
}

/// What passes of itself is worth a line when it has lasted so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// The present trouble; it is logged once, and its end is if its beginning was.
#[derive(Debug)]
pub(super) struct Troubles {
    group_id: String,
    present: Option<Present>,
}

#[derive(Debug)]
struct Present {
    trouble: Trouble,
    since: Instant,
    told: bool,
}

impl Troubles {
    pub(super) fn new(group_id: &str) -> Self {
        Self { group_id: group_id.to_owned(), present: None }
    }

    pub(super) fn present(&self) -> Option<&Trouble> {
        self.present.as_ref().map(|present| &present.trouble)
    }

    /// The present trouble if it has been logged.
    pub(super) fn told(&self) -> Option<&Trouble> {
        self.present.as_ref().filter(|present| present.told).map(|present| &present.trouble)
    }

    pub(super) fn begin(&mut self, trouble: Trouble, now: Instant) {
        log::debug!("consumer group {}: {trouble}", self.group_id);
        let passing = trouble.is_passing();
        match &mut self.present {
            Some(present) if present.trouble == trouble => {}
            // Of one that lasts and one that passes, the one that lasts is worth knowing.
            Some(present) if passing && !present.trouble.is_passing() => return,
            // A coordinator that moves has several reasons in a row.
            Some(present) if passing => present.trouble = trouble,
            _ => self.present = Some(Present { trouble, since: now, told: false }),
        }
        let Some(present) = &mut self.present else { return };
        let is_due = !passing || now.saturating_duration_since(present.since) >= PATIENCE;
        if is_due && !present.told && !present.trouble.is_told_elsewhere() {
            present.told = true;
            let is_final = matches!(present.trouble, Trouble::Replaced { .. });
            let level = if is_final { log::Level::Error } else { log::Level::Warn };
            log::log!(level, "consumer group {}: {}", self.group_id, present.trouble);
        }
    }

    /// A request of this kind has succeeded.
    pub(super) fn end(&mut self, succeeded: Api) {
        if let Some(ended) = self.present.take_if(|present| present.trouble.ends_with(succeeded))
            && ended.told
        {
            log::info!("consumer group {}: goes on", self.group_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::error::ResponseError::*;
    use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest};

    const FETCH: Api = Api(OffsetFetchRequest::KEY);
    const COMMIT: Api = Api(OffsetCommitRequest::KEY);

    fn refused(api: Api, error: ResponseError) -> Trouble {
        Trouble::Refused { api, error }
    }

    #[test]
    fn what_passes_is_told_when_it_has_lasted_and_keeps_its_beginning_from_reason_to_reason() {
        let begun = crate::clock::now();
        let mut troubles = Troubles::new("g");
        troubles.begin(refused(FETCH, CoordinatorLoadInProgress), begun);
        troubles.begin(refused(FETCH, NotCoordinator), begun + PATIENCE / 2);
        assert_eq!((troubles.present(), troubles.told()), (Some(&refused(FETCH, NotCoordinator)), None));
        troubles.begin(refused(COMMIT, NotCoordinator), begun + PATIENCE);
        assert_eq!(troubles.told(), Some(&refused(COMMIT, NotCoordinator)));
        troubles.end(FETCH);
        assert_eq!(troubles.present(), None);
    }

    #[test]
    fn what_lasts_is_told_at_once_and_only_its_own_end_ends_it() {
        let begun = crate::clock::now();
        let mut troubles = Troubles::new("g");
        let forbidden = refused(COMMIT, GroupAuthorizationFailed);
        troubles.begin(forbidden.clone(), begun);
        troubles.begin(refused(FETCH, NotCoordinator), begun);
        troubles.end(FETCH);
        assert_eq!(troubles.told(), Some(&forbidden));
        troubles.end(COMMIT);
        assert_eq!(troubles.present(), None);
    }

    #[test]
    fn a_rebalance_that_does_not_end_is_told_once_whatever_is_committed_meanwhile() {
        let begun = crate::clock::now();
        let mut troubles = Troubles::new("g");
        troubles.begin(Trouble::Rebalancing, begun);
        troubles.end(COMMIT);
        assert_eq!(troubles.told(), Some(&Trouble::Rebalancing));
        troubles.end(Api(JoinGroupRequest::KEY));
        assert_eq!(troubles.present(), None);
    }

    #[test]
    fn an_absence_is_left_to_the_cluster_to_tell_and_a_replacement_is_for_good() {
        let begun = crate::clock::now();
        let mut troubles = Troubles::new("g");
        for after in [Duration::ZERO, 2 * PATIENCE] {
            troubles.begin(Failure::ConnectTimedOut.into(), begun + after);
        }
        assert_eq!(troubles.told(), None);
        let replaced = Trouble::Replaced { instance_id: "edge-1".into() };
        troubles.begin(replaced.clone(), begun);
        troubles.end(Api(ConsumerGroupHeartbeatRequest::KEY));
        assert_eq!(troubles.told(), Some(&replaced));
    }
}
