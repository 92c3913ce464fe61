//! Cluster and driver together: what a producer and a consumer stand on.

use super::cluster::Cluster;
use super::driver::Driver;
use super::settings::Settings;
use std::time::Instant;

/// A client of one cluster. The caller's loop is
/// `receive`, then its producer's and consumer's `poll`, then `send`, then `wait`.
#[derive(Debug)]
pub struct Client {
    /// What a producer or consumer asks and sends by.
    pub cluster: Cluster,
    driver: Driver,
}

impl Client {
    /// A client that has not tried to connect yet.
    ///
    /// # Errors
    /// A TLS file that is of no use, or an operating system that has no more sockets.
    pub fn new(settings: Settings, now: Instant) -> Result<Self, String> {
        let driver = Driver::new(&settings)?;
        Ok(Self { cluster: Cluster::new(settings, now), driver })
    }

    /// Takes what has arrived and lets time pass. Never waits; work is bounded.
    pub fn receive(&mut self, now: Instant) {
        self.driver.poll(&mut self.cluster, now);
    }

    /// Writes what is to be sent, as far as the sockets take it. Never waits; work is bounded.
    pub fn send(&mut self, now: Instant) {
        self.driver.flush(&mut self.cluster, now);
    }

    /// Waits until `until`, or until there is something to do.
    pub fn wait(&mut self, now: Instant, until: Instant) {
        let until = self.cluster.deadline(now).map_or(until, |deadline| deadline.min(until));
        self.driver.wait(now, until);
    }
}
