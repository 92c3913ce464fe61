//! Real Kafka brokers for tests, by `tests/kafka/broker`, and independent clients to talk to them: librdkafka by
//! `tests/kafka/client.py`, kcat, and Kafka's own console clients.

#![allow(dead_code, reason = "each test file uses its part of it")]

use mokasim::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The exit code of the script when something is missing on this machine.
const UNAVAILABLE: i32 = 69;

/// Settings of a broker for which a member of a KIP-848 group that says nothing for six seconds has left it (45 s by default).
pub(crate) const SHORT_SESSIONS: [&str; 8] = [
    "--set",
    "group.consumer.min.session.timeout.ms=1000",
    "--set",
    "group.consumer.session.timeout.ms=6000",
    "--set",
    "group.consumer.min.heartbeat.interval.ms=100",
    "--set",
    "group.consumer.heartbeat.interval.ms=500",
];

/// A cluster. It goes down when this is dropped, and when the test's process ends.
pub(crate) struct Cluster {
    name: String,
    env: BTreeMap<String, String>,
    python: String,
}

/// A record as the independent client saw it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// A record for the independent client to send.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ToSend {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    /// The value, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<i32>,
}

impl Cluster {
    /// Brings a cluster of `version`; `options` are those of `tests/kafka/broker up`. `name` must be the test file's own.
    ///
    /// Where Java, Maven or Python is missing there is none: that is said aloud, and is a failure where `CI=true`.
    pub(crate) fn up(name: &str, version: &str, options: &[&str]) -> Option<Self> {
        let name = format!("{name}-{}", std::process::id());
        let owner = std::process::id().to_string();
        let up = [&["up", version, "--name", &name, "--owner", &owner], options].concat();
        let env = available(&up)?;
        let python = available(&["python"])?.trim().to_owned();
        let env = env.lines().filter_map(|line| line.split_once('='));
        Some(Self { name, env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), python })
    }

    /// What the script said about the cluster: `BOOTSTRAP`, `SASL_SSL`, `CA`, ...
    pub(crate) fn get(&self, key: &str) -> &str {
        &self.env[key]
    }

    /// The brokers' addresses, separated by commas.
    pub(crate) fn bootstrap(&self) -> &str {
        self.get("BOOTSTRAP")
    }

    /// `kill`, `stop`, `cont` or `restart`: of broker `n`, or of all.
    pub(crate) fn act(&self, what: &str, n: Option<u32>) {
        let n = n.map(|n| n.to_string());
        let args: Vec<&str> = [what, &self.name].into_iter().chain(n.as_deref()).collect();
        run(script().args(args), "");
    }

    /// Has the independent client send records.
    pub(crate) fn produce(&self, topic: &str, records: &[ToSend], settings: &[&str]) {
        let lines: String = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
        self.client("produce", topic, settings, &lines);
    }

    /// Every record of the topics, several by comma, as the independent client reads it: in order within each partition.
    pub(crate) fn consume(&self, topics: &str, settings: &[&str]) -> Vec<Received> {
        let lines = self.client("consume", topics, settings, "");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Creates a topic.
    pub(crate) fn create(&self, topic: &str, partitions: u32) {
        self.client("create", topic, &[&partitions.to_string()], "");
    }

    /// The broker that leads a partition; the independent client asks all brokers but `not_asked`.
    pub(crate) fn leader(&self, topic: &str, partition: u32, not_asked: Option<u32>) -> Option<u32> {
        let brokers = (1..).zip(self.bootstrap().split(','));
        let asked: Vec<&str> = brokers.filter(|(n, _)| Some(*n) != not_asked).map(|(_, address)| address).collect();
        let said = self.client_of(&asked.join(","), "leader", topic, &[&partition.to_string()], "");
        // -1: none at present.
        said.trim().parse().ok()
    }

    /// The state of a consumer group: `Stable`, `PreparingRebalance`, ...
    pub(crate) fn group_state(&self, group: &str) -> String {
        self.client("state", group, &[], "").trim().to_owned()
    }

    /// Runs one of Kafka's own tools on the cluster; `class` is below `org.apache.kafka.tools`, or a whole name.
    pub(crate) fn tool(&self, class: &str, args: &[&str]) -> String {
        self.tool_with_input(class, args, "")
    }

    fn tool_with_input(&self, class: &str, args: &[&str], input: &str) -> String {
        run(&mut self.tool_command(class, args), input)
    }

    /// The command of [`Self::tool`], for who does not wait for its end.
    pub(crate) fn tool_command(&self, class: &str, args: &[&str]) -> Command {
        let mut command = script();
        command.args(["tool", self.get("VERSION"), class, "--bootstrap-server", self.bootstrap()]).args(args);
        command
    }

    /// Has kcat send records, spread over the partitions.
    pub(crate) fn produce_by_kcat(&self, topic: &str, records: &[ToSend]) {
        self.kcat(topic, &[], &values(records));
    }

    /// Has kcat send lines, as its further `args` say.
    pub(crate) fn kcat(&self, topic: &str, args: &[&str], lines: &str) {
        run(Command::new("kcat").args(["-P", "-b", self.bootstrap(), "-t", topic]).args(args), lines);
    }

    /// Has the Python client run a script; its arguments are the brokers' addresses and then `args`.
    pub(crate) fn python(&self, script: &str, args: &[&str]) {
        run(Command::new(&self.python).args(["-c", script, self.bootstrap()]).args(args), "");
    }

    /// Has Kafka's own console producer send records, in gzip.
    pub(crate) fn produce_by_java(&self, topic: &str, records: &[ToSend]) {
        let class = if self.get("VERSION").starts_with('3') { "kafka.tools.ConsoleProducer" } else { "ConsoleProducer" };
        self.tool_with_input(class, &["--topic", topic, "--compression-codec", "gzip"], &values(records));
    }

    /// Every record of the topics as kcat reads it.
    pub(crate) fn consume_by_kcat(&self, topics: &[String]) -> Vec<Received> {
        let read = |topic: &String| {
            let args = ["-C", "-b", self.bootstrap(), "-t", topic, "-o", "beginning", "-e", "-q", "-J"];
            run(Command::new("kcat").args(args).args(["-X", "isolation.level=read_committed"]), "")
        };
        topics.iter().map(read).flat_map(|said| said.lines().map(Received::of_kcat).collect::<Vec<_>>()).collect()
    }

    /// The first `count` records of the topics as Kafka's own console consumer reads them. It does not tell of which topic each is.
    pub(crate) fn consume_by_java(&self, topics: &[String], count: usize) -> Vec<Received> {
        let (include, count) = (topics.join("|"), count.to_string());
        let mut args = vec!["--include", &include, "--from-beginning", "--isolation-level", "read_committed"];
        args.extend(["--max-messages", &count, "--timeout-ms", "30000"]);
        for shown in ["timestamp", "partition", "offset", "headers", "key"].map(|what| format!("print.{what}=true")) {
            args.extend(["--property", String::leak(shown)]);
        }
        let said = self.tool("consumer.ConsoleConsumer", &args);
        // A line before them may say that `--property` has another name in 4.x.
        said.lines().filter(|line| line.contains("\tPartition:")).map(Received::of_java).collect()
    }

    fn client(&self, command: &str, topic: &str, args: &[&str], input: &str) -> String {
        self.client_of(self.bootstrap(), command, topic, args, input)
    }

    fn client_of(&self, bootstrap: &str, command: &str, topic: &str, args: &[&str], input: &str) -> String {
        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        run(Command::new(&self.python).arg(client).args([command, bootstrap, topic]).args(args), input)
    }
}

impl Received {
    /// A line of `kcat -J`.
    fn of_kcat(line: &str) -> Self {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let headers: Vec<String> = record["headers"].as_array().into_iter().flatten().filter_map(text).collect();
        Self {
            topic: text(&record["topic"]).unwrap(),
            partition: record["partition"].as_i64().unwrap() as i32,
            offset: record["offset"].as_i64().unwrap(),
            timestamp: record["ts"].as_i64().unwrap_or(0),
            key: text(&record["key"]),
            value: text(&record["payload"]).unwrap(),
            headers: headers.chunks(2).map(|header| (header[0].clone(), header[1].clone())).collect(),
        }
    }

    /// A line of Kafka's console consumer: `CreateTime:1\tPartition:2\tOffset:3\tname:value,name:value\tkey\tvalue`.
    fn of_java(line: &str) -> Self {
        let fields: Vec<&str> = line.splitn(6, '\t').collect();
        let number = |field: &str| field.split_once(':').map_or(0, |(_, number)| number.parse().unwrap());
        let headers = fields[3].split(',').filter_map(|header| header.split_once(':'));
        Self {
            topic: String::new(),
            partition: number(fields[1]) as i32,
            offset: number(fields[2]),
            timestamp: number(fields[0]),
            key: (fields[4] != "null").then(|| fields[4].to_owned()),
            value: fields[5].to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }
}

/// The values, a line each.
fn values(records: &[ToSend]) -> String {
    records.iter().map(|record| format!("{}\n", record.value)).collect()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script().args(["down", "--name", &self.name]).status();
    }
}

/// Waits for a condition; one that does not come within a minute fails the test.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + Duration::from_secs(60);
    while !condition() {
        assert!(clock::now() < deadline, "waited in vain for: {what}");
        clock::sleep(Duration::from_millis(5));
    }
}

fn script() -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker"))
}

/// What the script prints, or `None` when it lacks something.
fn available(args: &[&str]) -> Option<String> {
    let output = script().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{stderr}");
        // Past the test harness, which keeps what a passing test prints to itself.
        let _ = writeln!(std::io::stderr(), "NOT RUN, no Kafka broker to be had: {}", stderr.trim());
        return None;
    }
    assert!(output.status.success(), "{args:?}: {stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn run(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
