//! What can go wrong on the way to a broker and back.

use kafka_protocol::messages::ApiKey;
use std::fmt;

/// Why a connection, or a request with it, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name has no address, or none was found in time.
    #[error("cannot look up {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The operating system reported an error.
    #[error("{0}")]
    Io(String),
    /// TLS failed: a certificate, a version, a garbled record.
    #[error("TLS: {0}")]
    Tls(String),
    /// The broker closed the connection.
    #[error("the broker closed the connection{}", if *.in_handshake { UNANSWERED } else { "" })]
    Closed {
        /// Nothing had been answered but the handshake: a listener that expects TLS or SASL, or a broker older than 0.10.
        in_handshake: bool,
    },
    /// No connection within `connect_timeout`.
    #[error("no connection in time")]
    ConnectTimedOut,
    /// A request was not answered within its time.
    #[error("no answer to {0} in time")]
    TimedOut(Api),
    /// A frame announced a length beyond the limit, or a negative one.
    #[error("an answer of {bytes} bytes, the limit is {limit}{}", if is_tls_alert(*.bytes) { EXPECTS_TLS } else { "" })]
    FrameLength {
        /// What the frame said.
        bytes: i32,
        /// `frame_bytes_max`
        limit: usize,
    },
    /// The answer is not that of the oldest request.
    #[error("an answer with correlation id {found}, expected {expected}")]
    Correlation {
        /// What came.
        found: i32,
        /// `None`: nothing was asked.
        expected: Expected,
    },
    /// An answer that cannot be read.
    #[error("garbled answer to {api}: {reason}")]
    Garbled {
        /// To what.
        api: Api,
        /// What is wrong with it.
        reason: String,
    },
    /// Broker and client share no version of a request.
    #[error("{api}: the broker knows versions {}, this client {}", Range(.broker), Range(.client))]
    NoCommonVersion {
        /// Which request.
        api: Api,
        /// Lowest and highest of the client.
        client: (i16, i16),
        /// Lowest and highest of the broker; (0, -1) when it does not know the request.
        broker: (i16, i16),
    },
    /// The broker refused the credentials or the mechanism.
    #[error("{mechanism}: {message}")]
    Authentication {
        /// `sasl.mechanism`
        mechanism: &'static str,
        /// What it said.
        message: String,
    },
    /// The client gave the connection up: the cluster has changed.
    #[error("the connection was given up")]
    GivenUp,
}

const UNANSWERED: &str = " before it answered a request: its listener may have another security.protocol";
const EXPECTS_TLS: &str = ": a TLS alert, so the listener expects TLS; see security.protocol";

/// Whether a length is the beginning of a TLS alert: content type 21, major version 3 (RFC 8446, section 5.1).
const fn is_tls_alert(bytes: i32) -> bool {
    bytes >> 16 == 0x1503
}

impl Failure {
    /// Whether it is the mark of a broker too old for this client (before 0.11). A closed connection is not: a broker that
    /// restarts, or a listener for TLS, closes it as well.
    #[must_use]
    pub fn is_broker_too_old(&self) -> bool {
        matches!(self, Self::NoCommonVersion { client, broker, .. } if broker.1 < client.0)
    }

    /// Whether the broker is away or mute, rather than there and saying something that is of no use.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Io(_)
                | Self::Closed { .. }
                | Self::ConnectTimedOut
                | Self::TimedOut(_)
                | Self::GivenUp
        )
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// An API key, shown by its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Api(pub i16);

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ApiKey::try_from(self.0) {
            Ok(key) => write!(f, "{key:?}"),
            Err(()) => write!(f, "request {}", self.0),
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A correlation id that was expected, if any was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected(pub Option<i32>);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "{id}"),
            None => f.write_str("none"),
        }
    }
}

struct Range<'a>(&'a (i16, i16));

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (low, high) if low > high => f.write_str("none"),
            (low, high) => write!(f, "{low} to {high}"),
        }
    }
}
