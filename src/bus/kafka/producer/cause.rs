//! What is wrong with a topic that is written to.

use super::super::told::describe;

/// Why records of a topic are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The broker says so.
    Code(i16),
    /// A partition has no leader.
    Leaderless,
    /// The broker that leads a partition cannot be talked to, while others can.
    Away(i32),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Code(code) => f.write_str(&describe(code)),
            Self::Leaderless => f.write_str("a partition has no leader"),
            Self::Away(broker) => write!(f, "broker {broker}, which leads a partition, is away"),
        }
    }
}
