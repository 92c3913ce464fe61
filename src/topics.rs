//! `mokasim topics`: creates the configured topics and shows them as the broker has them.

use crate::bus::kafka::admin::{Admin, Described, NewTopic, Refusal};
use crate::bus::kafka::client::Client;
use crate::bus::native;
use crate::check::table;
use crate::clock;
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::wire::{Class, Topics};
use kafka_protocol::error::ResponseError;
use std::time::Duration;

/// Partitions of a topic unless told otherwise: three plants, an instance each.
pub const PARTITIONS: i32 = 3;
/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Telemetry is kept for a week: it is much, and a chart of it looks back no further.
const TELEMETRY_DAYS: u32 = 7;
/// Orders, production events and rejected orders are kept for a month: they are few, and people ask for them.
const EVENT_DAYS: u32 = 30;
/// Simulated time may run ahead of the wall clock. Kafka 4 refuses timestamps that are an hour ahead, unless told not to;
/// brokers before 3.6 do not know this setting (KIP-937), and refuse none.
const AHEAD: (&str, i64) = ("message.timestamp.after.max.ms", i64::MAX);

/// Creates the topics of the configuration that are not there, and returns what then stands.
///
/// # Errors
/// No broker is configured, it cannot be reached, or it refuses to create a topic.
pub fn create(config: &Config, partitions: i32) -> Result<String, Failure> {
    let mut admin = admin(config)?;
    let kept = kept(&config.kafka.topics);
    let wanted: Vec<NewTopic<'_>> = kept.iter().map(|(name, days)| new_topic(name, *days, partitions)).collect();
    let mut results = admin.create(&wanted).map_err(unavailable)?;
    let is_unknown_setting =
        |result: &Result<(), Refusal>| result.as_ref().is_err_and(|refusal| refusal.error == ResponseError::InvalidConfig);
    if results.iter().any(is_unknown_setting) {
        let plain = wanted.into_iter().map(|mut topic| {
            topic.configs.retain(|(key, _)| *key != AHEAD.0);
            topic
        });
        results = admin.create(&plain.collect::<Vec<_>>()).map_err(unavailable)?;
    }
    let mut notes = Vec::new();
    let mut refusals = Vec::new();
    for ((name, _), result) in kept.iter().zip(results) {
        match result {
            Ok(()) => notes.push("created"),
            Err(refusal) if refusal.error == ResponseError::TopicAlreadyExists => notes.push("was there"),
            Err(refusal) => refusals.push(format!("{name}: {}", refusal.message)),
        }
    }
    if !refusals.is_empty() {
        return Err(unavailable(refusals.join("\n")));
    }
    show(&mut admin, &kept, &notes)
}

/// Returns the topics of the configuration as the broker has them.
///
/// # Errors
/// No broker is configured, or it cannot be reached.
pub fn list(config: &Config) -> Result<String, Failure> {
    show(&mut admin(config)?, &kept(&config.kafka.topics), &[])
}

fn admin(config: &Config) -> Result<Admin<'static>, Failure> {
    if config.kafka.bootstrap_servers.is_empty() {
        let text = "no broker: expected --broker, KAFKA_BOOTSTRAP_SERVERS or kafka.bootstrap_servers";
        return Err(Failure::new(Exit::Config, text));
    }
    let client = native::settings(&config.kafka).and_then(|settings| Client::new(settings, clock::now()));
    let client = client.map_err(|problem| Failure::new(Exit::Config, problem))?;
    Ok(Admin::new(client, &clock::now, PATIENCE))
}

fn unavailable(text: String) -> Failure {
    Failure::new(Exit::Unavailable, text)
}

/// Every topic, and for how many days its records are kept.
fn kept(topics: &Topics) -> Vec<(&str, u32)> {
    let days = |class| match class {
        Class::Telemetry => TELEMETRY_DAYS,
        Class::Event => EVENT_DAYS,
    };
    let outputs = topics.outputs().map(|(name, class)| (name, days(class)));
    [(topics.orders.as_str(), EVENT_DAYS)].into_iter().chain(outputs).collect()
}

fn new_topic(name: &str, days: u32, partitions: i32) -> NewTopic<'_> {
    let retention_ms = u64::from(days) * 24 * 60 * 60 * 1000;
    let configs = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention_ms.to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
        (AHEAD.0, AHEAD.1.to_string()),
    ];
    NewTopic { name, partitions, configs }
}

fn show(admin: &mut Admin<'_>, kept: &[(&str, u32)], notes: &[&str]) -> Result<String, Failure> {
    let names: Vec<&str> = kept.iter().map(|(name, _)| *name).collect();
    let described = admin.describe(&names).map_err(unavailable)?;
    let notes = notes.iter().copied().map(Some).chain(std::iter::repeat(None));
    let row = |((name, topic), note): ((&&str, Option<Described>), Option<&str>)| {
        let Some(topic) = topic else { return [name, "", "", "", "missing"].map(str::to_owned).to_vec() };
        let state = match topic.leaderless {
            0 => note.unwrap_or("").to_owned(),
            leaderless => format!("{leaderless} without a leader"),
        };
        let numbers = [topic.partitions.to_string(), topic.replicas.to_string(), keeps(topic.retention_ms)];
        [(*name).to_owned()].into_iter().chain(numbers).chain([state]).collect()
    };
    let head = ["Topic", "Partitions", "Replicas", "Kept for", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(names.iter().zip(described).zip(notes).map(row)).collect();
    Ok(table(&rows))
}

fn keeps(retention_ms: Option<i64>) -> String {
    match retention_ms.map(u64::try_from) {
        Some(Ok(ms)) => humantime::format_duration(Duration::from_millis(ms)).to_string(),
        Some(Err(_)) => "ever".to_owned(),
        None => "?".to_owned(),
    }
}
