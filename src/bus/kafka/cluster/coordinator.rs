//! Which broker coordinates the group.

use super::super::connection::{Answer, Ticket};
use super::super::settings::Endpoint;
use super::{Cluster, Completion, Owner};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use std::time::Instant;

/// Where the group is coordinated.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    group: Option<StrBytes>,
    /// Metadata may not know it, or no more.
    broker: Option<(i32, Endpoint)>,
    pub(super) in_flight: Option<Ticket>,
    pub(super) at: Option<Instant>,
    failures: u32,
    /// What the last look-up was refused with, until somebody has asked.
    refusal: Option<ResponseError>,
}

impl Coordinator {
    /// Where this broker is, if it is the one.
    pub(super) fn endpoint(&self, broker: i32) -> Option<&Endpoint> {
        self.broker.as_ref().filter(|(id, _)| *id == broker).map(|(_, endpoint)| endpoint)
    }
}

impl Cluster {
    /// The broker that coordinates `group`; looked for while it is unknown. A client is a member of one group at most.
    pub fn coordinator(&mut self, group: &str) -> Option<i32> {
        if self.coordinator.group.as_deref() != Some(group) {
            self.coordinator = Coordinator { group: Some(StrBytes::from_string(group.into())), ..Coordinator::default() };
        }
        self.coordinator.broker.as_ref().map(|(broker, _)| *broker)
    }

    /// What a look-up of the coordinator was refused with, told once for each.
    pub const fn take_coordinator_refusal(&mut self) -> Option<ResponseError> {
        self.coordinator.refusal.take()
    }

    /// The coordinator has moved or is away: it is looked for again.
    pub fn forget_coordinator(&mut self, now: Instant) {
        if self.coordinator.broker.take().is_some() {
            self.coordinator.at = Some(now + self.backoff.delay(0));
        }
    }

    pub(super) fn poll_coordinator(&mut self, now: Instant) {
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

    pub(super) fn take_coordinator(&mut self, completion: Completion, now: Instant) {
        self.coordinator.in_flight = None;
        let answer = completion.result.and_then(Answer::decode::<FindCoordinatorRequest>);
        match answer.map(|answer| found_coordinator(&answer)) {
            Ok(Ok((broker, endpoint))) => {
                self.coordinator.failures = 0;
                if self.metadata.broker(broker) != Some(&endpoint) {
                    self.refresh_metadata(now);
                }
                self.coordinator.broker = Some((broker, endpoint));
                return;
            }
            Ok(Err(error)) => self.coordinator.refusal = Some(error),
            Err(failure) => self.fail_if_garbled(completion.target, &failure, now),
        }
        self.coordinator.failures = self.coordinator.failures.saturating_add(1);
        self.coordinator.at = Some(now + self.backoff.delay(self.coordinator.failures));
    }
}

/// The coordinator, or why the answer names none.
fn found_coordinator(answer: &FindCoordinatorResponse) -> Result<(i32, Endpoint), ResponseError> {
    let (code, id, host, port) = match answer.coordinators.first() {
        Some(first) => (first.error_code, first.node_id.0, &first.host, first.port),
        None => (answer.error_code, answer.node_id.0, &answer.host, answer.port),
    };
    match (ResponseError::try_from_code(code), u16::try_from(port)) {
        (Some(error), _) => Err(error),
        (None, Ok(port)) if id >= 0 => Ok((id, Endpoint { host: host.to_string(), port })),
        (None, _) => Err(ResponseError::CoordinatorNotAvailable),
    }
}
