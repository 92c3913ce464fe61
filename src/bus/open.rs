//! Which adapter the configuration asks for.

use super::Bus;
use super::classic::Classic;
use super::fallback::Fallback;
use super::member::MemberFile;
use super::native::Native;
use super::spool::{Lock, Spool, SpoolError};
use crate::clock;
use crate::config::{Config, KafkaClient};
use crate::error::{Exit, Failure};
use std::io;

/// Opens the bus of the configuration: Kafka where it names a broker, else the spool. One that consumes is to be opened after
/// [`claim`].
///
/// # Errors
/// The client cannot be what the configuration asks for; the spool's folder is in use or cannot be written. A broker that is
/// away is no error: it may come.
pub fn open(config: &Config, consumes: bool) -> Result<Box<dyn Bus>, Failure> {
    if !config.kafka.bootstrap_servers.is_empty() {
        return open_kafka(config, consumes).map_err(|problem| Failure::new(Exit::Config, problem));
    }
    let memory_bytes_max = config.kafka.buffer_bytes;
    Ok(Box::new(Spool::open(&config.spool, &config.kafka.topics, memory_bytes_max).map_err(|error| spool_failure(&error))?))
}

fn open_kafka(config: &Config, consumes: bool) -> Result<Box<dyn Bus>, String> {
    let kafka = &config.kafka;
    let now = clock::now();
    if kafka.security.shows_password() {
        log::warn!("kafka.security: PLAIN without TLS shows the password to whoever listens on the way");
    }
    Ok(match kafka.client {
        KafkaClient::Classic => Box::new(Classic::new(kafka, consumes, now).map_err(|error| error.to_string())?),
        KafkaClient::Auto if kafka.wants_beyond_classic().next().is_none() => {
            Box::new(Fallback::open(kafka, consumes, now)?)
        }
        KafkaClient::Auto | KafkaClient::Native => {
            let instance_id = kafka.group_instance_id.as_ref().filter(|_| consumes);
            let member = instance_id.map(|id| MemberFile::open(&config.spool.dir, &kafka.group_id, id));
            Box::new(Native::open(kafka, consumes, member, now)?)
        }
    })
}

/// Makes sure that no other instance runs on the data folder, for as long as the lock lives. The spool does so by itself.
///
/// # Errors
/// Another instance does, or the folder cannot be written.
pub fn claim(config: &Config) -> Result<Option<Lock>, Failure> {
    if config.kafka.bootstrap_servers.is_empty() {
        return Ok(None);
    }
    Lock::take(&config.spool.dir).map(Some).map_err(|error| spool_failure(&error))
}

/// Where records go, for people: the brokers, or `spool:DIR`.
#[must_use]
pub fn address(config: &Config) -> String {
    match config.kafka.bootstrap_servers.as_slice() {
        [] => format!("spool:{}", config.spool.dir.display()),
        servers => servers.join(","),
    }
}

/// What a failing spool means for the program's end.
pub(crate) fn spool_failure(error: &SpoolError) -> Failure {
    let exit = if matches!(error, SpoolError::InUse { .. }) { Exit::TempFail } else { Exit::Io };
    let message = match error {
        // Of a folder that was to be made, "file exists" does not say what would have been right.
        SpoolError::Io { path, source } if source.kind() == io::ErrorKind::AlreadyExists => {
            format!("{}: expected a folder; see --data and [spool] dir", path.display())
        }
        error => error.to_string(),
    };
    Failure::new(exit, message)
}
