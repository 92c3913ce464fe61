//! `mokasim topics`: creates the configured topics and shows them as the broker has them.

use crate::bus::kafka::admin::{Admin, Described};
use crate::bus::kafka::client::Client;
use crate::bus::kafka::create::Fate;
use crate::bus::{native, topics};
use crate::check::table;
use crate::clock;
use crate::config::Config;
use crate::error::{Exit, Failure};
use std::time::Duration;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what was created may take to be known to every broker and to have leaders,
const SPREAD_MAX: Duration = Duration::from_secs(5);
/// and how long what is missing is looked for when nothing is known to have been created.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether it is.
const SPREAD_TURN: Duration = Duration::from_millis(100);

/// Creates the topics of the configuration that are not there, and returns what then stands.
///
/// # Errors
/// No broker is configured, it cannot be reached, or it refuses to create a topic.
pub fn create(config: &Config, partitions: i32) -> Result<String, Failure> {
    let wanted = topics::wanted(&config.kafka.topics, partitions);
    let fates = admin(config)?.create(wanted).map_err(unavailable)?;
    let mut notes = Vec::new();
    let mut refusals = Vec::new();
    for (name, fate) in fates {
        match fate {
            Fate::Created => notes.push("created"),
            Fate::Existed => notes.push("was there"),
            Fate::Refused(why) => refusals.push(format!("{name}: {why}")),
        }
    }
    if !refusals.is_empty() {
        return Err(unavailable(refusals.join("\n")));
    }
    Ok(show(config, settled(config, SPREAD_MAX)?, &notes))
}

/// Returns the topics of the configuration as the broker has them.
///
/// # Errors
/// No broker is configured, or it cannot be reached.
pub fn list(config: &Config) -> Result<String, Failure> {
    Ok(show(config, settled(config, LOOK_MAX)?, &[]))
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

/// The topics once all are there and have leaders, or as they stand after so long.
fn settled(config: &Config, patience: Duration) -> Result<Vec<Option<Described>>, Failure> {
    let deadline = clock::now() + patience;
    loop {
        let described = describe(config)?;
        let is_led = |topic: &Option<Described>| topic.as_ref().is_some_and(|topic| topic.leaderless == 0);
        if described.iter().all(is_led) || deadline <= clock::now() {
            return Ok(described);
        }
        clock::sleep(SPREAD_TURN);
    }
}

fn describe(config: &Config) -> Result<Vec<Option<Described>>, Failure> {
    admin(config)?.describe(&topics::names(&config.kafka.topics)).map_err(unavailable)
}

fn show(config: &Config, described: Vec<Option<Described>>, notes: &[&str]) -> String {
    let names = topics::names(&config.kafka.topics);
    let notes = notes.iter().copied().chain(std::iter::repeat(""));
    let row = |((name, topic), note): ((&&str, Option<Described>), &str)| {
        let Some(topic) = topic else { return [name, "", "", "", "missing"].map(str::to_owned).to_vec() };
        let state = match topic.leaderless {
            0 => note.to_owned(),
            leaderless => format!("{leaderless} without a leader"),
        };
        let numbers = [topic.partitions.to_string(), topic.replicas.to_string(), keeps(topic.retention)];
        [(*name).to_owned()].into_iter().chain(numbers).chain([state]).collect()
    };
    let head = ["Topic", "Partitions", "Replicas", "A partition keeps", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(names.iter().zip(described).zip(notes).map(row)).collect();
    table(&rows)
}

/// What a partition keeps, by `retention.ms` and `retention.bytes`.
fn keeps(retention: Option<(i64, i64)>) -> String {
    let Some((ms, bytes)) = retention else { return "?".to_owned() };
    let time = u64::try_from(ms).ok().map(|ms| humantime::format_duration(Duration::from_millis(ms)).to_string());
    let bytes = u64::try_from(bytes).ok().map(|bytes| format!("{} MiB", bytes >> 20));
    let limits: Vec<String> = time.into_iter().chain(bytes).collect();
    if limits.is_empty() { "all".to_owned() } else { limits.join(", ") }
}
