//! Topics that the program makes.

use crate::broker::Cluster;
use crate::program::{Place, wait_for};
use crate::{clusters, kafka, place};
use std::process::Output;

const NAMES: [&str; 7] =
    ["orders", "telemetry.fresa_cnc", "telemetry.tornio", "telemetry.assemblaggio", "telemetry.test", "events", "rejected"];
/// More than Kafka 4 lets a record be ahead of the broker's clock unless told otherwise.
const AHEAD_MS: i64 = 2 * 60 * 60 * 1000;

fn topics(place: &Place, cluster: &Cluster, args: &[&str]) -> String {
    let args = [&["topics", "--broker", cluster.bootstrap()], args].concat();
    String::from_utf8(place.run_ok(&args).stdout).unwrap()
}

/// The rows of the table, of which each must be of another topic, without the spaces between their cells.
fn rows(table: &str, test: &str) -> Vec<String> {
    let row = |(line, name): (&str, &str)| {
        let rest = line.strip_prefix(&format!("{test}.{name} ")).unwrap_or_else(|| panic!("no {name} in {line}"));
        rest.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    table.lines().skip(1).zip(NAMES).map(row).collect()
}

#[test]
fn topics_are_listed_without_being_created_and_created_once() {
    for cluster in clusters() {
        let place = place("made", "");
        for _ in 0..2 {
            assert_eq!(rows(&topics(&place, cluster, &["list"]), "made"), ["missing"; 7]);
        }
        cluster.create("made.events", 2);
        let created = rows(&topics(&place, cluster, &["create", "--partitions", "4"]), "made");
        for (row, name) in created.iter().zip(NAMES) {
            let expected = if name == "events" { "2 1 7days was there" } else { "4 1 256 MiB created" };
            assert_eq!(row, expected, "{name}");
        }
        let again = rows(&topics(&place, cluster, &["create", "--partitions", "9"]), "made");
        assert!(again.iter().all(|row| row.ends_with("was there")), "{again:?}");
        let described = cluster.tool("TopicCommand", &["--describe", "--topic", "made.telemetry.test"]);
        for expected in [
            "PartitionCount: 4",
            "cleanup.policy=delete",
            "retention.ms=-1",
            "retention.bytes=268435456",
            "message.timestamp.type=CreateTime",
            "message.timestamp.after.max.ms=9223372036854775807",
        ] {
            assert!(described.contains(expected), "no {expected} in {described}");
        }
    }
}

#[test]
fn a_clock_that_runs_ahead_of_the_brokers_finds_topics_that_take_its_records() {
    for cluster in clusters() {
        let place = Place::with_config(&format!("health_check.requests_per_second = 1000{}", kafka("ahead")));
        let start_ms = mokasim::clock::wall_ms();
        let args = ["run", "--demo", "--speed", "3600", "--broker", cluster.bootstrap()];
        let factory = place.start(&args);
        wait_for("three hours to be acknowledged", || {
            let health = factory.health();
            health["kafka_connected"] == true
                && health["outbox_records"].as_u64() < Some(1000)
                && health["uptime_seconds"].as_f64() > Some(3.0)
        });
        let said = factory.stop();
        assert!(said.contains("topic ahead.events: created"), "{said}");
        assert!(said.contains("every record is acknowledged"), "{said}");
        let records = cluster.consume("ahead.telemetry.fresa_cnc", &[]);
        let latest = records.iter().map(|record| record.timestamp).max().unwrap();
        assert!(latest > start_ms + AHEAD_MS, "{latest} is not far ahead of {start_ms}");
    }
}

#[test]
fn no_broker_is_one_line() {
    let place = place("none", "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = |output: Output| (output.status.code(), String::from_utf8(output.stderr).unwrap());
    let away = said(place.run(&["topics", "list", "--broker", &free]));
    assert_eq!(away, (Some(69), format!("{free}: Connection refused (os error 111)\n")));
    let (code, unnamed) = said(place.run(&["topics", "create"]));
    assert_eq!((code, unnamed.lines().count()), (Some(78), 1), "{unnamed}");
    let (code, misplaced) = said(place.run(&["topics", "list", "--partitions", "3", "--broker", &free]));
    assert_eq!((code, misplaced.as_str()), (Some(64), "--partitions is for topics create\n"));
}
