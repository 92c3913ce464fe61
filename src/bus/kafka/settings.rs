//! What a client is told at its start.

use super::security::Security;
use std::fmt;
use std::time::Duration;

/// Settings of a client; the defaults are those of the Java client unless said otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `bootstrap.servers`: where the cluster is looked for.
    pub bootstrap: Vec<Endpoint>,
    /// `client.id`: the name brokers log and count quotas by.
    pub client_id: String,
    /// TLS and SASL.
    pub security: Security,
    /// The longest answer that is taken. It must exceed `fetch.max.bytes`; the Java client has no such limit.
    pub frame_bytes_max: usize,
    /// `request.timeout.ms`, at half of the Java client's 30 s: a request unanswered for so long takes its connection down.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: for name look-up, connect, TLS, ApiVersions and SASL together.
    pub connect_timeout: Duration,
    /// `reconnect.backoff.ms` and `retry.backoff.ms`: the first delay after a failure. It doubles, with a jitter of a fifth.
    pub backoff_first: Duration,
    /// `reconnect.backoff.max.ms` and `retry.backoff.max.ms`.
    pub backoff_max: Duration,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// Requests a connection may have unanswered.
    pub in_flight_max: usize,
    /// Seed of the jitter; instances that fail together should not return together.
    pub jitter_seed: u64,
}

impl Settings {
    /// Defaults for a cluster.
    #[must_use]
    pub fn new(bootstrap: Vec<Endpoint>) -> Self {
        Self {
            bootstrap,
            client_id: "mokasim".into(),
            security: Security::default(),
            frame_bytes_max: 16 << 20,
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(60),
            in_flight_max: 16,
            jitter_seed: 0,
        }
    }
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    /// Reads `HOST:PORT`, `1.2.3.4:PORT` or `[::1]:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.chars().any(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port: port.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
