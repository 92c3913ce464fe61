//! A factory on a real broker, with topics and a group of its own.

use crate::broker::{Cluster, Received, ToSend};
use crate::program::{Place, QUICK, Running, wait_for};
use crate::wire_check::{self, Ledger, Read};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::OnceLock;

/// What `kafka.client` may be on a broker of 3.9.
pub(crate) const CLIENTS: [&str; 2] = ["native", "classic"];

const STAGES: [&str; 4] = ["fresa_cnc", "tornio", "assemblaggio", "test"];

/// One broker for all tests that leave it alone; the end of the process takes it down.
pub(crate) fn shared() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::up("program", "3.9.2", &[])).as_ref()
}

/// A folder with a configuration that names the broker, and the topics in it.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) place: Place,
    /// Of the consumer group; the topics' names begin with it.
    pub(crate) name: String,
    carries_all: bool,
}

/// All that a factory has sent.
pub(crate) struct Sent {
    /// In the order in which they happened where the topic has one partition, else by lot and by machine only.
    pub(crate) events: Vec<Read>,
    pub(crate) ledger: Ledger,
    pub(crate) telemetry: Vec<Read>,
    pub(crate) rejected: Vec<Read>,
}

impl<'a> World<'a> {
    /// `name` makes topics and group the test's own; `toml` is put before the `[kafka]` table, `kafka` into it.
    #[expect(clippy::print_stderr, reason = "a test that fails shows at which client")]
    pub(crate) fn new(cluster: &'a Cluster, name: &str, client: &str, toml: &str, kafka: &str) -> Self {
        eprintln!("{name}, client {client}");
        let name = format!("{name}-{client}");
        let bootstrap = cluster.bootstrap();
        let place = Place::with_config(&format!(
            "{QUICK}{toml}
[kafka]
bootstrap_servers = \"{bootstrap}\"
client = \"{client}\"
group_id = \"{name}\"
{kafka}
[kafka.topics]
input = \"{name}.orders\"
telemetry_prefix = \"{name}.telemetry\"
events = \"{name}.events\"
rejected = \"{name}.rejected\"
"
        ));
        Self { cluster, place, name, carries_all: client != "classic" }
    }

    /// The topic of `orders`, `events`, `rejected` or `telemetry.STAGE`.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Makes a topic of one partition, whose records are in order.
    pub(crate) fn in_one_partition(&self, name: &str) {
        self.cluster.create(&self.topic(name), 1);
    }

    /// Starts `mokasim run` with more arguments and waits until it is connected.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let factory = self.start_alone(args);
        wait_for("the broker", || factory.get("/ready").0 == 200);
        factory
    }

    /// Starts `mokasim run` and waits until it serves, with a broker or without.
    pub(crate) fn start_alone(&self, args: &[&str]) -> Running {
        self.place.start(&[&["run"], args].concat())
    }

    /// Has the independent client send orders.
    pub(crate) fn order(&self, orders: &[ToSend]) {
        self.cluster.produce(&self.topic("orders"), orders, &[]);
    }

    /// The topics that a factory writes.
    fn written(&self) -> Vec<String> {
        let names = STAGES.map(|stage| format!("telemetry.{stage}")).into_iter();
        names.chain(["events".to_owned(), "rejected".to_owned()]).map(|name| self.topic(&name)).collect()
    }

    /// Checks that kcat and Kafka's own console consumer read every record of the factory's topics as the independent client has,
    /// once, and those of each key in order.
    pub(crate) fn check_other_readers(&self, received: &BTreeMap<String, Vec<Received>>) {
        let mut expected: Vec<Received> = received.values().flatten().cloned().collect();
        expected.sort_unstable();
        let without_topic = |record: &Received| Received { topic: String::new(), ..record.clone() };
        let topics: BTreeMap<Received, &str> =
            expected.iter().map(|record| (without_topic(record), &*record.topic)).collect();
        let by_kcat = self.cluster.consume_by_kcat(&self.written());
        let mut by_java = self.cluster.consume_by_java(&self.written(), expected.len());
        for record in &mut by_java {
            record.topic = topics.get(record).unwrap_or_else(|| panic!("Java alone reads {record:?}")).to_string();
        }
        for (reader, mut read) in [("kcat", by_kcat), ("Java", by_java)] {
            let mut last: BTreeMap<(&str, Option<&str>), i64> = BTreeMap::new();
            for record in &read {
                let before = last.insert((&record.topic, record.key.as_deref()), record.offset);
                assert!(before < Some(record.offset), "{reader} reads out of order: {record:?}");
            }
            read.sort_unstable();
            assert_eq!(read.len(), expected.len(), "records that {reader} reads");
            let differ = read.iter().zip(&expected).find(|(read, expected)| read != expected);
            assert_eq!(differ, None, "what {reader} reads, and what is expected");
        }
    }

    /// Every record of the factory's own topics, by topic: as the independent client reads them.
    pub(crate) fn received(&self) -> BTreeMap<String, Vec<Received>> {
        let mut received: BTreeMap<String, Vec<Received>> = BTreeMap::new();
        for record in self.cluster.consume(&self.written().join(","), &["isolation.level=read_committed"]) {
            let name = record.topic.strip_prefix(&format!("{}.", self.name)).unwrap().to_owned();
            received.entry(name).or_default().push(record);
        }
        received
    }

    /// What `ConsumerGroupCommand --describe` shows of the factory's group: rows, each by the names of its columns.
    pub(crate) fn group(&self, what: &[&str]) -> Vec<BTreeMap<String, String>> {
        let args = [&["--describe", "--group", &self.name][..], what].concat();
        let shown = self.cluster.tool("consumer.group.ConsumerGroupCommand", &args);
        let mut lines = shown.lines().filter(|line| !line.trim().is_empty());
        let head = lines.find(|line| line.starts_with("GROUP ")).unwrap_or_default();
        let names: Vec<String> = head.split_whitespace().map(str::to_owned).collect();
        lines.map(|line| names.iter().cloned().zip(line.split_whitespace().map(str::to_owned)).collect()).collect()
    }

    /// Orders not committed yet, of all partitions.
    pub(crate) fn lag(&self) -> u64 {
        let rows = self.group(&[]);
        assert!(!rows.is_empty(), "no partitions");
        rows.iter().map(|row| row["LAG"].parse::<u64>().unwrap()).sum()
    }

    /// Reads all that was sent and checks it.
    pub(crate) fn check(&self) -> Sent {
        self.check_records(|_| true)
    }

    /// The same, of a client that may have sent records again: those that came before are passed over.
    pub(crate) fn check_once_each(&self) -> Sent {
        let mut seen = BTreeSet::new();
        self.check_records(|record| {
            self.carries_all || seen.insert((record.topic.clone(), record.key.clone(), record.value.clone()))
        })
    }

    fn check_records(&self, mut counts: impl FnMut(&Received) -> bool) -> Sent {
        let mut read: BTreeMap<String, Vec<Read>> = BTreeMap::new();
        for (name, records) in self.received() {
            let records = records.into_iter().filter(&mut counts).map(|record| self.read(record));
            read.insert(name, records.collect());
        }
        let mut take = |name: &str| read.remove(name).unwrap_or_default();
        let events = take("events");
        let ledger = wire_check::events(&events);
        let mut telemetry = Vec::new();
        for stage in STAGES {
            let records = take(&format!("telemetry.{stage}"));
            wire_check::telemetry(stage, &records, &ledger);
            telemetry.extend(records);
        }
        Sent { events, ledger, telemetry, rejected: take("rejected") }
    }

    pub(crate) fn read(&self, record: Received) -> Read {
        assert_eq!(record.headers.contains_key("run_id"), self.carries_all, "{record:?}");
        Read {
            key: record.key.unwrap(),
            timestamp: self.carries_all.then_some(record.timestamp),
            headers: record.headers,
            value: serde_json::from_str(&record.value).unwrap(),
        }
    }
}

/// An order as JSON.
pub(crate) fn order(code: &str, site: &str, priority: &str) -> ToSend {
    let value = format!(
        "{{\"codice_lotto\":\"{code}\",\"cliente\":\"Bar Centrale\",\"quantita\":20,\"location\":\"{site}\",\
         \"priorita\":\"{priority}\"}}"
    );
    ToSend { value, ..ToSend::default() }
}

/// Prints what was measured, past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}

/// A figure of `/health`.
pub(crate) fn count(factory: &Running, figure: &str) -> u64 {
    factory.health()[figure].as_u64().unwrap_or_else(|| panic!("no {figure}: {}", factory.health()))
}

/// A figure of `/metrics`, by its name without `mokasim_` and with its labels.
pub(crate) fn metric(factory: &Running, name: &str) -> f64 {
    let (_, page) = factory.get("/metrics");
    let prefix = format!("mokasim_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name}: {page}")).parse().unwrap()
}

/// Waits until all orders are taken and made, and their records acknowledged.
pub(crate) fn wait_until_idle(factory: &Running) {
    wait_for("the factory to be done", || {
        let health = factory.health();
        ["consumer_lag", "active_lots", "queued_lots", "outbox_records"].iter().all(|figure| health[*figure] == 0)
    });
}
