//! Kafka by the native client, and for a broker that proves too old for it, by the classic one.
//!
//! A broker tells its age before anything is sent to it, so all records published until then are still in the outbox and move
//! over, in order.

use super::classic::Classic;
use super::native::Native;
use super::{Bus, Full, Incoming, Status, Taken};
use crate::config::Kafka;
use crate::wire::Record;
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Fallback {
    client: Client,
    /// What the classic client would be made of; none once that was tried.
    kafka: Option<Kafka>,
    consumes: bool,
    /// Telemetry dropped and failures counted by the native client before it was given up.
    earlier: Status,
}

#[derive(Debug)]
enum Client {
    Native(Box<Native>),
    Classic(Box<Classic>),
}

impl Fallback {
    /// A native client that has not tried to connect yet.
    ///
    /// # Errors
    /// As [`Native::open`].
    pub fn open(kafka: &Kafka, consumes: bool, now: Instant) -> Result<Self, String> {
        let client = Client::Native(Box::new(Native::open(kafka, consumes, None, now)?));
        Ok(Self { client, kafka: Some(kafka.clone()), consumes, earlier: Status::default() })
    }

    fn bus(&mut self) -> &mut dyn Bus {
        match &mut self.client {
            Client::Native(native) => &mut **native,
            Client::Classic(classic) => &mut **classic,
        }
    }

    fn current(&self) -> &dyn Bus {
        match &self.client {
            Client::Native(native) => &**native,
            Client::Classic(classic) => &**classic,
        }
    }

    /// Takes the classic client for a broker that proved too old.
    fn fall_back(&mut self, now: Instant) {
        let Client::Native(native) = &mut self.client else { return };
        let Some(reason) = native.too_old().map(ToString::to_string) else { return };
        let Some(kafka) = self.kafka.take() else { return };
        let mut classic = match Classic::new(&kafka, self.consumes, now) {
            Ok(classic) => classic,
            Err(error) => return log::error!("Kafka: {reason}; and the classic client: {error}"),
        };
        log::warn!("Kafka: {reason}: older than 0.11, so the classic client takes over");
        self.earlier = native.status();
        native.hand_over(&mut classic);
        self.client = Client::Classic(Box::new(classic));
    }
}

impl Bus for Fallback {
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        self.bus().poll(now, orders_max, orders);
        self.fall_back(now);
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.bus().publish(record)
    }

    fn has_room(&self) -> bool {
        self.current().has_room()
    }

    fn status(&self) -> Status {
        let status = self.current().status();
        let Status { dropped, errors, .. } = self.earlier;
        Status { dropped: status.dropped + dropped, errors: status.errors + errors, ..status }
    }

    fn wait(&mut self, now: Instant, until: Instant) {
        self.bus().wait(now, until);
    }

    fn close(&mut self, now: Instant) -> bool {
        self.bus().close(now)
    }
}
