//! One place a connection can be made to, through its failures and returns.
//!
//! ```text
//!           wanted, and the delay is over          socket connected
//!   Down ──────────────────────────────► Opening ─────────────────► Up
//!    ▲                                      │                        │
//!    └────────────── failed ────────────────┴────────────────────────┘
//! ```

use super::connection::Connection;
use super::error::Failure;
use super::settings::Endpoint;
use std::time::Instant;

/// Where a request goes: a broker, and which of the connections to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The broker's id; below 0 for a bootstrap address, whose id is not known.
    pub broker: i32,
    /// Which connection.
    pub lane: Lane,
}

impl Target {
    /// Whether it is an address that was given at the start, and not a broker that the cluster named.
    #[must_use]
    pub const fn is_bootstrap(self) -> bool {
        self.broker < 0
    }
}

/// A broker works on one request of a connection at a time, so what may wait long has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Produce, metadata, and all that is answered soon.
    Main,
    /// Fetch: parked at the broker until there is something.
    Fetch,
    /// Group membership: a parked JoinGroup must not hold up a produce, nor a fetch a heartbeat.
    Group,
}

/// A listener that closes so many connections in a row before it answers anything is of another protocol.
const CLOSED_MAX: u32 = 3;

/// See the module.
#[derive(Debug)]
pub struct Link {
    endpoint: Endpoint,
    state: State,
    wanted: bool,
    /// In a row, since a request was last answered.
    failures: u32,
    /// Counts sockets, so that a driver sees when the one it holds is of no more use.
    generation: u64,
    last_failure: Option<Failure>,
}

#[derive(Debug)]
enum State {
    Down { until: Option<Instant> },
    Opening { deadline: Instant },
    Up { connection: Box<Connection>, established: Established },
}

/// The end of the handshake.
#[derive(Clone, Copy, Debug)]
enum Established {
    By(Instant),
    Since(Instant),
}

impl Link {
    pub(super) const fn new(endpoint: Endpoint) -> Self {
        let state = State::Down { until: None };
        Self { endpoint, state, wanted: false, failures: 0, generation: 0, last_failure: None }
    }

    /// Where it leads.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The number of the present socket.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The last failure, until a request is answered again.
    #[must_use]
    pub const fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// Whether it failed for a reason that time does not mend. A broker that is being stopped closes a connection in the
    /// handshake too, but not one after the other.
    #[must_use]
    pub const fn is_hopeless(&self) -> bool {
        match self.last_failure() {
            Some(Failure::Closed { in_handshake: true }) => self.failures >= CLOSED_MAX,
            Some(failure) => !failure.is_absence(),
            None => false,
        }
    }

    /// The connection, if its socket is connected.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Up { connection, .. } => Some(connection),
            _ => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Up { connection, .. } => Some(connection),
            _ => None,
        }
    }

    /// Whether its handshake is over.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.connection().is_some_and(Connection::is_established)
    }

    /// Since when.
    #[must_use]
    pub const fn established_since(&self) -> Option<Instant> {
        match self.state {
            State::Up { established: Established::Since(since), .. } => Some(since),
            _ => None,
        }
    }

    pub(super) const fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// Whether it is waiting for the end of a delay.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        matches!(self.state, State::Down { until: Some(until) } if until > now)
    }

    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether a socket should be opened now.
    pub(super) fn should_open(&self, now: Instant) -> bool {
        self.wanted && self.is_down() && !self.is_resting(now)
    }

    pub(super) fn open(&mut self, deadline: Instant) {
        self.generation += 1;
        self.state = State::Opening { deadline };
    }

    pub(super) fn connected(&mut self, connection: Connection) {
        if let State::Opening { deadline } = self.state {
            self.state = State::Up { connection: Box::new(connection), established: Established::By(deadline) };
        }
    }

    /// Takes the link down and hands back the connection it had. It is opened again when it is wanted after `until`.
    pub(super) fn fail(&mut self, failure: Failure, until: Option<Instant>) -> Option<Box<Connection>> {
        self.wanted = false;
        if failure != Failure::GivenUp {
            self.failures = self.failures.saturating_add(1);
            self.last_failure = Some(failure);
        }
        match std::mem::replace(&mut self.state, State::Down { until }) {
            State::Up { connection, .. } => Some(connection),
            _ => None,
        }
    }

    /// Lets time pass.
    pub(super) fn poll(&mut self, now: Instant) -> Result<(), Failure> {
        match &mut self.state {
            State::Opening { deadline } if *deadline <= now => Err(Failure::ConnectTimedOut),
            State::Up { connection, established } => {
                if connection.is_established() && matches!(established, Established::By(_)) {
                    *established = Established::Since(now);
                }
                if connection.has_answered() {
                    self.failures = 0;
                    self.last_failure = None;
                }
                match established {
                    Established::By(deadline) if *deadline <= now => Err(Failure::ConnectTimedOut),
                    _ => connection.poll(now),
                }
            }
            _ => Ok(()),
        }
    }

    /// When [`Self::poll`] or [`Self::should_open`] is next of use.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Down { until } if self.wanted => Some(until.map_or(now, |until| until.max(now))),
            State::Down { .. } => None,
            State::Opening { deadline } => Some(*deadline),
            State::Up { connection, .. } if connection.is_working() => Some(now),
            State::Up { connection, established: Established::By(deadline) } => {
                Some(connection.deadline().map_or(*deadline, |answer| answer.min(*deadline)))
            }
            State::Up { connection, .. } => connection.deadline(),
        }
    }
}
