//! The sections of single keys, each read into its type.

use super::environment::Environment;
use super::problem::Problems;
use super::reader::{Item, Section};
use super::rules::{self, integer, number, seconds};
use super::{Api, Config, FILES_KEPT_MAX, HealthCheck, Kafka, KafkaClient, Log, Simulation, Spool, plan, security, stages};
use crate::factory::Factory;
use crate::factory::plan::{Capacity, Plan};
use crate::wire::Topics;
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
pub(super) fn config(root: &mut Section<'_, '_>, environment: &Environment<'_>) -> Config {
    let stages = stages::read(root);
    let kafka = root.table("kafka", |section| kafka(section, environment, &stages));
    let api = root.table("api", |section| api(section, environment));
    let health_check = health_check(root, environment);
    let (simulation, mut plan) = root.table("simulation", simulation);
    plan.sites = plan::sites(root, &stages);
    plan.stages = plan::timed_stages(root, stages);
    let memory_max_bytes = root.table("capacity", |section| capacity(section, &mut plan, &kafka));
    let spool = root.table("spool", |section| spool(section, &kafka));
    let log = root.table("log", log);
    Config { kafka, api, health_check, simulation, spool, log, plan, memory_max_bytes, unused_servers: Vec::new() }
}

fn kafka(section: &mut Section<'_, '_>, environment: &Environment<'_>, stages: &[stages::Row<'_>]) -> Kafka {
    let servers = rules::servers();
    let in_file = section.read("bootstrap_servers", &servers);
    let in_environment = environment.read("KAFKA_BOOTSTRAP_SERVERS", &servers, section.problems);
    let kafka = Kafka {
        bootstrap_servers: in_environment.unwrap_or(in_file),
        client: section.read("client", &rules::client()),
        group_id: section.read("group_id", &rules::name()),
        group_instance_id: section.optional("group_instance_id", &rules::name()),
        session_timeout: Duration::from_millis(section.read("session_timeout_ms", &integer(6_000..=1_800_000))),
        from_earliest: section.read("auto_offset_reset", &rules::word(&[("earliest", true), ("latest", false)])),
        batch_size: section.read("batch_size", &integer(1..=16 << 20)),
        linger: Duration::from_millis(section.read("linger_ms", &integer(0..=60_000))),
        compression: section.read("compression_type", &rules::compression()),
        create_topics: section.read("create_topics", &rules::boolean()),
        buffer_bytes: section.read("buffer_bytes", &integer(1 << 20..=u32::MAX as usize)),
        topics: section.table("topics", |section| topics(section, stages)),
        security: section.table("security", |section| security::read(section, environment)),
    };
    if kafka.client == KafkaClient::Classic {
        refuse_what_classic_lacks(section, &kafka);
    }
    kafka
}

/// Reports what is asked for and only the native client has.
fn refuse_what_classic_lacks(section: &mut Section<'_, '_>, kafka: &Kafka) {
    let Some(client) = section.own_child("client") else { return };
    for what in kafka.wants_beyond_classic() {
        client.unexpected(&format!("\"auto\" or \"native\", as the classic client has no {what}"), section.problems);
    }
}

fn topics(section: &mut Section<'_, '_>, stages: &[stages::Row<'_>]) -> Topics {
    let keys = ["input", "events", "rejected"];
    let fixed = keys.map(|key| section.read(key, &rules::topic()));
    let prefix = section.read("telemetry_prefix", &rules::topic());
    let telemetry: Vec<_> = stages.iter().map(|row| format!("{prefix}.{}", row.stage.topic)).collect();

    let fixed_places = keys.iter().map(|key| section.own_child(key));
    let own_prefix = section.own_child("telemetry_prefix");
    let telemetry_places =
        stages.iter().map(|row| row.item.child("topic").filter(|_| row.is_own).or_else(|| own_prefix.clone()));
    let places = fixed_places.chain(telemetry_places);
    let topics: Vec<_> = fixed.iter().chain(&telemetry).map(String::as_str).zip(places).collect();
    refuse_unusable(topics, section.problems);

    let [orders, events, rejected] = fixed;
    Topics { orders, telemetry, events, rejected }
}

/// Reports topics that are too long, and pairs that Kafka takes for one: it refuses names that differ in `.` and `_` alone.
/// Each comes with the place in the file, if any, that made it what it is.
fn refuse_unusable(mut topics: Vec<(&str, Option<Item<'_>>)>, problems: &mut Problems) {
    topics.sort_by_key(|(_, place)| place.is_some());
    let alike = |a: &str, b: &str| a.replace('.', "_") == b.replace('.', "_");
    for (index, (topic, place)) in topics.iter().enumerate() {
        let Some(place) = place else { continue };
        if topic.len() > rules::TOPIC_BYTES_MAX {
            place.problem(&format!("expected topics of at most {} bytes with it", rules::TOPIC_BYTES_MAX), problems);
        }
        let is_alike = |other: &&(&str, _)| !topic.is_empty() && alike(topic, other.0);
        if let Some((other, _)) = topics[..index].iter().find(is_alike) {
            place.problem(&format!("expected a topic that differs from {other} in more than . and _"), problems);
        }
    }
}

fn api(section: &mut Section<'_, '_>, environment: &Environment<'_>) -> Api {
    let in_file = section.read("enable_api", &rules::boolean());
    let in_environment = environment.read("ENABLE_API", &rules::boolean(), section.problems);
    let enabled = in_environment.unwrap_or(in_file);
    let endpoint_url = section.required("endpoint_url", &rules::endpoint());
    if enabled && endpoint_url == Some(None) {
        let expected = "false, or an api.endpoint_url in the configuration file";
        match section.own_child("enable_api") {
            Some(item) if in_environment.is_none() => item.unexpected(expected, section.problems),
            _ => environment.unexpected("ENABLE_API", expected, section.problems),
        }
    }
    let key_in_file = section.read("api_key", &rules::api_key());
    let key_in_environment = environment.read("MOKAMETRICS_API_KEY", &rules::api_key(), section.problems);
    Api { enabled, endpoint: endpoint_url.flatten(), key: key_in_environment.unwrap_or(key_in_file) }
}

/// `[health_check]`.
pub(super) fn health_check(root: &mut Section<'_, '_>, environment: &Environment<'_>) -> HealthCheck {
    root.table("health_check", |section| {
        let port = integer(0..=u16::MAX);
        let port_in_file = section.read("port", &port);
        HealthCheck {
            bind: section.read("bind", &rules::address()),
            port: environment.read("HEALTH_CHECK_PORT", &port, section.problems).unwrap_or(port_in_file),
            requests_per_second: section.read("requests_per_second", &integer(1..=1_000_000)),
        }
    })
}

/// What concerns the loop, and the plan so far: without stages, sites and capacity.
fn simulation(section: &mut Section<'_, '_>) -> (Simulation, Plan) {
    let seed = section.optional("seed", &integer(0..=u64::MAX));
    let plan = Plan {
        seed: seed.unwrap_or_default(),
        stages: Vec::new(),
        sites: Vec::new(),
        priority_processing: section.read("priority_processing", &rules::boolean()),
        block_probability: section.read("machine_block_probability", &number(0.0..=1.0)),
        block_duration: section.range("block_duration", &seconds(0.001..=rules::YEAR_S)),
        telemetry_interval: section.read("telemetry_interval", &seconds(0.1..=86_400.0)),
        idle_telemetry: section.read("idle_telemetry", &rules::boolean()),
        capacity: Capacity { lots: 0, remembered_codes: 0 },
    };
    let simulation = Simulation {
        speed: section.read("speed", &rules::speed()),
        seed,
        tick: Duration::from_millis(section.read("tick_ms", &rules::tick_ms())),
        status_report_interval: Duration::from_secs(section.read("status_report_interval", &integer(1..=86_400))),
        batch_processing: section.read("batch_processing", &rules::boolean()),
    };
    (simulation, plan)
}

/// Completes the plan, and checks what it takes against the bound of memory, which is returned, in bytes.
fn capacity(section: &mut Section<'_, '_>, plan: &mut Plan, kafka: &Kafka) -> u64 {
    plan.capacity = Capacity {
        lots: section.read("lots", &integer(1..=10_000_000)),
        remembered_codes: section.read("remembered_codes", &integer(1..=100_000_000)),
    };
    let bytes = memory_bytes(plan, kafka);
    let max_bytes = section.required("memory_max_bytes", &integer(1 << 20..=1 << 40)).unwrap_or(bytes);
    if let Some(item) = section.find("memory_max_bytes").filter(|_| bytes > max_bytes) {
        let expected = format!("{bytes} or more, which lots, codes, machines and buffer_bytes may take");
        item.unexpected(&expected, section.problems);
    }
    max_bytes
}

/// The most memory that lots, codes, machines and waiting records may take, in bytes.
pub(super) fn memory_bytes(plan: &Plan, kafka: &Kafka) -> u64 {
    Factory::memory_needs(plan).total_bytes.saturating_add(kafka.buffer_bytes as u64)
}

fn spool(section: &mut Section<'_, '_>, kafka: &Kafka) -> Spool {
    let spool = Spool {
        dir: PathBuf::from(section.read("dir", &rules::text("the path of a folder", |dir| !dir.is_empty()))),
        max_bytes: section.read("max_bytes", &integer(1 << 20..=1 << 44)),
        roll_bytes: section.read("roll_bytes", &integer(1 << 12..=1 << 40)),
    };
    // Only rolled files are deleted: unless each topic's file is rolled within the bound, the spool would be stuck there.
    let topics = kafka.topics.outputs().count() as u64;
    let needed = spool.roll_bytes.saturating_mul(topics);
    if kafka.bootstrap_servers.is_empty()
        && spool.max_bytes < needed
        && let Some(item) = section.find("max_bytes")
    {
        let expected = format!("{needed} or more, which is roll_bytes for each of {topics} topics");
        item.unexpected(&expected, section.problems);
    }
    spool
}

fn log(section: &mut Section<'_, '_>) -> Log {
    let file = section.read("file", &rules::text("the path of a file, or \"\" for none", |_| true));
    Log {
        level: section.read("level", &rules::level()),
        terminal_level: section.read("terminal_level", &rules::level()),
        file: Some(file).filter(|file| !file.is_empty()).map(PathBuf::from),
        file_max_bytes: section.read("file_max_bytes", &integer(1 << 12..=1 << 30)),
        files_kept: section.read("files_kept", &integer(1..=FILES_KEPT_MAX)),
    }
}
