//! `config.toml`: what it says, after flags and environment had their word.

use crate::factory::plan::Plan;
use crate::wire::Topics;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[api]`
    pub api: Api,
    /// `[health_check]`
    pub health_check: HealthCheck,
    /// `[simulation]`, what concerns the loop
    pub simulation: Simulation,
    /// `[spool]`
    pub spool: Spool,
    /// `[log]`
    pub log: Log,
    /// The simulated world: `[machines]`, `[locations]`, `[[stages]]`, `[processing_times]`, `[capacity]`, `[simulation]`.
    /// Its seed is 0 where the configuration gives none: the run draws one.
    pub plan: Plan,
}

/// `[kafka]`
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `bootstrap_servers`, `HOST:PORT` each. Empty: the spool is the bus.
    pub bootstrap_servers: Vec<String>,
    /// `group_id`
    pub group_id: String,
    /// `auto_offset_reset`: start at the earliest order where the group has no offset, else at the latest.
    pub from_earliest: bool,
    /// `batch_size`, bytes
    pub batch_size: usize,
    /// `linger_ms`
    pub linger: Duration,
    /// `compression_type`
    pub compression: Compression,
    /// `buffer_bytes`: memory for records that wait.
    pub buffer_bytes: usize,
    /// `[kafka.topics]`
    pub topics: Topics,
}

/// `compression_type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// `none`
    #[default]
    None,
    /// `gzip`
    Gzip,
    /// `snappy`
    Snappy,
    /// `lz4`
    Lz4,
    /// `zstd`
    Zstd,
}

/// `[api]`
#[derive(Clone, Debug)]
pub struct Api {
    /// `enable_api`
    pub enabled: bool,
    /// `endpoint_url`
    pub endpoint_url: String,
    /// `api_key`
    pub api_key: Secret,
}

/// A text that is never shown: its `Debug` is a row of stars.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `[health_check]`
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// `bind`
    pub bind: IpAddr,
    /// `port`; 0 takes a free one and says which.
    pub port: u16,
    /// `requests_per_second` of one client
    pub requests_per_second: u32,
}

/// `[simulation]`, what concerns the loop and not the world.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// `speed`
    pub speed: Speed,
    /// `seed`
    pub seed: Option<u64>,
    /// `tick_ms`
    pub tick: Duration,
    /// `status_report_interval`
    pub status_report_interval: Duration,
    /// `batch_processing`: true takes all that has arrived at each poll, false one order a poll.
    pub batch_processing: bool,
}

/// Simulated time against the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many simulated seconds a second.
    Times(f64),
    /// `max`: as fast as the bus takes the records.
    Max,
}

/// `[spool]`
#[derive(Clone, Debug)]
pub struct Spool {
    /// `dir`
    pub dir: PathBuf,
    /// `max_bytes` of all files together
    pub max_bytes: u64,
    /// `roll_bytes`: a file that has grown beyond it is rolled
    pub roll_bytes: u64,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// `level` of the file
    pub level: log::LevelFilter,
    /// `terminal_level`
    pub terminal_level: log::LevelFilter,
    /// `file`; empty in the configuration: none
    pub file: Option<PathBuf>,
    /// `file_max_bytes`: rotated beyond it
    pub file_max_bytes: usize,
    /// `files_kept`: rotated files that are kept
    pub files_kept: usize,
}
