//! `config.toml`: what it says, after flags and environment had their word.

mod changes;
mod environment;
mod inputs;
mod plan;
mod problem;
mod reader;
mod rules;
mod sections;
mod security;
mod signals;
mod source;
mod stages;

pub use changes::{IN_FLIGHT, changed_keys};
pub use inputs::Inputs;
pub use problem::Problem;
pub use source::{BUILT_IN, Source};

use crate::bus::kafka::security::Security;
use crate::factory::plan::Plan;
use crate::wire::Topics;
use environment::Environment;
use problem::Problems;
use reader::{Document, Section};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use ureq::http::{HeaderValue, Uri};

/// The environment variable that names the configuration file.
pub const CONFIG_PATH: &str = "CONFIG_PATH";

/// An environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// The key that it comes before, if there is one.
    pub key: Option<&'static str>,
}

impl Variable {
    /// What it says, and instead of which key.
    #[must_use]
    pub fn told(&self) -> String {
        self.key.map_or_else(|| self.meaning.to_owned(), |key| format!("{}, instead of {key}", self.meaning))
    }
}

const fn instead_of(key: &'static str, name: &'static str, meaning: &'static str) -> Variable {
    Variable { name, meaning, key: Some(key) }
}

/// The environment variables.
pub const VARIABLES: [Variable; 6] = [
    Variable { name: CONFIG_PATH, meaning: "configuration file; --config comes before it", key: None },
    instead_of("api.api_key", "MOKAMETRICS_API_KEY", "key of the external API"),
    instead_of("api.enable_api", "ENABLE_API", "true or false"),
    instead_of("health_check.port", "HEALTH_CHECK_PORT", "port of /health"),
    instead_of("kafka.bootstrap_servers", "KAFKA_BOOTSTRAP_SERVERS", "brokers; --broker comes before it"),
    instead_of("kafka.security.sasl_password_file", security::PASSWORD, "password, itself"),
];

/// What flags set: it comes before environment and file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Brokers, by [`server`]; empty: not given.
    pub bootstrap_servers: Vec<String>,
    /// Folder of the spool, which is the bus then unless `bootstrap_servers` are given too.
    pub data: Option<PathBuf>,
    /// The one plant to play.
    pub site: Option<String>,
    /// Speed.
    pub speed: Option<Speed>,
    /// Root of every draw.
    pub seed: Option<u64>,
    /// Length of a tick, by [`tick`].
    pub tick: Option<Duration>,
    /// Level of the log, in the file and on the terminal.
    pub log_level: Option<log::LevelFilter>,
}

/// `[health_check]` alone, as [`load`] reads it: who asks a factory how it is needs nothing that the other sections name.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn load_health_check(
    source: Option<&Source>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<HealthCheck, Vec<Problem>> {
    read(source, |root| {
        let health_check = sections::health_check(root, &Environment(environment));
        root.abandon();
        health_check
    })
}

/// The configuration of `source`, or the built-in one, after environment (by a lookup of its variables) and flags.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn load(
    source: Option<&Source>,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &Overrides,
) -> Result<Config, Vec<Problem>> {
    let mut config = read(source, |root| {
        let mut config = sections::config(root, &Environment(environment));
        config.lay_over(overrides);
        config
    })?;
    if let Some(site) = &overrides.site {
        config.play_only(site).map_err(|problem| vec![problem])?;
    }
    Ok(config)
}

fn read<T>(source: Option<&Source>, f: impl FnOnce(&mut Section<'_, '_>) -> T) -> Result<T, Vec<Problem>> {
    let built_in = Document::parse("built-in config.toml", BUILT_IN)?;
    let own = source.map(|source| Document::parse(&source.name, &source.text)).transpose()?;
    let own = own.as_ref().map(Document::root);
    let mut problems = Problems::default();
    let value = Section::read_with(own, Some(built_in.root()), &mut problems, f);
    problems.or(value)
}

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
    /// `capacity.memory_max_bytes`
    pub memory_max_bytes: u64,
    /// Brokers of the file or the environment that a `--data` without `--broker` sets aside.
    pub unused_servers: Vec<String>,
}

impl Config {
    /// What to tell a person whose broker is not used, in one line.
    #[must_use]
    pub fn unused_broker(&self) -> Option<String> {
        let (servers, dir) = (self.unused_servers.join(","), self.spool.dir.display());
        let note = format!(
            "--data alone means the spool in {dir}: the configured broker {servers} is not used (--broker beside it uses both)"
        );
        (!servers.is_empty()).then_some(note)
    }

    /// What to tell a person whose key for the external API is not used, in one line.
    #[must_use]
    pub fn unused_api_key(&self) -> Option<&'static str> {
        let is_unused = !self.api.enabled && self.api.key.is_some();
        is_unused.then_some(
            "a key for the external API is set, but nothing is sent there: enable_api and endpoint_url of [api] say where",
        )
    }

    /// The most memory that lots, codes, machines and waiting records may take, in bytes. Pages that were never used are not
    /// resident, so a process takes far less until it has once been full.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        sections::memory_bytes(&self.plan, &self.kafka)
    }

    /// Plays one plant alone, in a consumer group of its own: every order comes to each plant's group.
    fn play_only(&mut self, name: &str) -> Result<(), Problem> {
        let site = self.plan.site_by_name(name).ok_or_else(|| {
            let names: Vec<&str> = self.plan.sites.iter().map(|site| &*site.name).collect();
            let text = format!("{name}: expected one of {}{}", names.join(", "), reader::did_you_mean(name, &names));
            Problem::new("--site", None, &text)
        })?;
        self.plan.play_only(site);
        self.kafka.group_id = format!("{}-{name}", self.kafka.group_id);
        Ok(())
    }

    fn lay_over(&mut self, overrides: &Overrides) {
        if !overrides.bootstrap_servers.is_empty() || overrides.data.is_some() {
            let servers = std::mem::replace(&mut self.kafka.bootstrap_servers, overrides.bootstrap_servers.clone());
            self.unused_servers = if overrides.bootstrap_servers.is_empty() { servers } else { Vec::new() };
        }
        if let Some(data) = &overrides.data {
            self.spool.dir.clone_from(data);
        }
        if let Some(seed) = overrides.seed {
            self.simulation.seed = Some(seed);
            self.plan.seed = seed;
        }
        self.simulation.speed = overrides.speed.unwrap_or(self.simulation.speed);
        self.simulation.tick = overrides.tick.unwrap_or(self.simulation.tick);
        self.log.level = overrides.log_level.unwrap_or(self.log.level);
        self.log.terminal_level = overrides.log_level.unwrap_or(self.log.terminal_level);
    }
}

/// `[kafka]`
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `bootstrap_servers`, `HOST:PORT` each. Empty: the spool is the bus.
    pub bootstrap_servers: Vec<String>,
    /// `client`
    pub client: KafkaClient,
    /// `group_id`
    pub group_id: String,
    /// `group_instance_id`, of a static member.
    pub group_instance_id: Option<String>,
    /// `session_timeout_ms`
    pub session_timeout: Duration,
    /// `auto_offset_reset`: start at the earliest order where the group has no offset, else at the latest.
    pub from_earliest: bool,
    /// `batch_size`, bytes
    pub batch_size: usize,
    /// `linger_ms`
    pub linger: Duration,
    /// `compression_type`
    pub compression: Compression,
    /// `create_topics`: whether topics that are missing are created.
    pub create_topics: bool,
    /// `buffer_bytes`: memory for records that wait.
    pub buffer_bytes: usize,
    /// `[kafka.topics]`
    pub topics: Topics,
    /// `[kafka.security]`
    pub security: Security,
}

impl Kafka {
    /// What is asked for that the classic client has not.
    pub fn wants_beyond_classic(&self) -> impl Iterator<Item = &'static str> {
        let rows = [
            (self.security.tls.is_some() || self.security.sasl.is_some(), "TLS and SASL"),
            (self.group_instance_id.is_some(), "group_instance_id"),
            (self.compression == Compression::Lz4, "lz4"),
            (self.compression == Compression::Zstd, "zstd"),
        ];
        rows.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, what)| what)
    }
}

/// `client`: who speaks to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaClient {
    /// `auto`: the native client, and for a broker too old for it the classic one.
    Auto,
    /// `native`: our own, for brokers from 0.11 on.
    Native,
    /// `classic`: the `kafka` crate, for brokers up to 3.9.
    Classic,
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
    /// Where telemetry is posted to: `endpoint_url` and `/api/telemetry`; there is one when `enabled`.
    pub endpoint: Option<Uri>,
    /// `api_key`, if there is one
    pub key: Option<HeaderValue>,
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

impl Speed {
    const EXPECTED: &str = "a number from 0.001 to 1000000, or \"max\"";

    fn times(times: f64) -> Option<Self> {
        (0.001..=1e6).contains(&times).then_some(Self::Times(times))
    }
}

impl FromStr for Speed {
    type Err = String;

    /// `60`, `60x` or `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        let times = || Self::times(text.strip_suffix('x').unwrap_or(text).parse().ok()?);
        let speed = if text == "max" { Some(Self::Max) } else { times() };
        speed.ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

/// Checks a broker's address and returns it.
///
/// # Errors
/// What was expected, if it is no `HOST:PORT` (an IPv6 address in brackets).
pub fn server(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let is_host = |host: &str| match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    };
    match parts {
        Some((host, 1..)) if is_host(host) => Ok(text.to_owned()),
        _ => Err(format!("expected {}", rules::SERVER)),
    }
}

/// Checks the address of a page and returns it.
///
/// # Errors
/// What was expected, if it is no whole `http://` or `https://` address.
pub fn page(text: &str) -> Result<String, String> {
    let uri = text.parse().ok().filter(rules::is_of_the_web);
    uri.map(|_| text.to_owned()).ok_or_else(|| "expected an address such as http://127.0.0.1:8080/health".to_owned())
}

/// Parses the length of a tick.
///
/// # Errors
/// What was expected, if it is no whole number of milliseconds from 1 to 10000.
pub fn tick(text: &str) -> Result<Duration, String> {
    let tick = text.parse().ok().filter(|ms| rules::TICK_MS.contains(ms));
    tick.map(Duration::from_millis).ok_or_else(|| format!("expected {}", rules::tick_ms().expected))
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

/// Upper bound of `files_kept`.
pub(crate) const FILES_KEPT_MAX: usize = 1_000;

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
