//! The producer's id and epoch, without which a broker recognises no batch that is sent again.

use super::super::cluster::{Cluster, Completion, Owner};
use super::super::connection::{Answer, Ticket};
use super::super::told::Told;
use super::super::told::describe;
use super::Producer;
use super::partition::Identity;
use kafka_protocol::messages::InitProducerIdRequest;
use std::time::Instant;

/// `InitProducerId`, under way or to be tried again.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    pub(super) ticket: Option<Ticket>,
    pub(super) retry_at: Option<Instant>,
    failures: u32,
    /// Why none was given, and since when.
    pub(super) problem: Option<(i16, Instant)>,
    pub(super) told: Told<i16>,
}

impl Producer {
    pub(super) fn introduce(&mut self, cluster: &mut Cluster, now: Instant) {
        let waits = self.introduction.ticket.is_some() || self.introduction.retry_at.is_some_and(|at| at > now);
        if self.identity.is_some() || waits {
            return;
        }
        let Some(target) = cluster.any_broker(now) else { return };
        let Some(version) = cluster.version::<InitProducerIdRequest>(target, now) else { return };
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX);
        let deadline = now + cluster.settings().request_timeout;
        match cluster.send(Owner::Producer, target, &request, version, deadline) {
            Ok(ticket) => self.introduction.ticket = Some(ticket),
            Err(failure) => cluster.fail(target, &failure, now),
        }
    }

    pub(super) fn introduced(&mut self, completion: Completion, cluster: &mut Cluster, now: Instant) {
        self.introduction.ticket = None;
        match completion.result.and_then(Answer::decode::<InitProducerIdRequest>) {
            Ok(answer) if answer.error_code == 0 => {
                self.identity = Some(Identity { id: answer.producer_id.0, epoch: answer.producer_epoch });
                if let Some(lasted) = self.introduction.told.ends(now) {
                    log::info!("Kafka gives a producer id after {:.1} s", lasted.as_secs_f64());
                }
                self.introduction =
                    Introduction { told: std::mem::take(&mut self.introduction.told), ..Introduction::default() };
                return;
            }
            Ok(answer) => {
                let code = answer.error_code;
                let since = self.introduction.problem.map_or(now, |(_, since)| since);
                self.introduction.problem = Some((code, since));
                log::debug!("Kafka gives no producer id, asking again: {}", describe(code));
            }
            Err(failure) => log::debug!("Kafka gives no producer id, asking again: {failure}"),
        }
        self.errors += 1;
        self.introduction.failures += 1;
        self.introduction.retry_at = Some(now + cluster.backoff(self.introduction.failures));
    }

    /// Sequence numbers begin anew: under the next epoch, or another id where there is none (KIP-360).
    pub(super) const fn bump_epoch(&mut self) {
        self.identity = match self.identity {
            Some(Identity { id, epoch }) if epoch < i16::MAX => Some(Identity { id, epoch: epoch + 1 }),
            _ => None,
        };
    }
}
