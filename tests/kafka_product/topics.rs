//! Topics that the program makes.

use crate::broker::{Cluster, Received};
use crate::program::{Place, QUICK, wait_for};
use crate::{clusters, kafka, lots, order, place, send_orders};
use serde_json::json;
use std::collections::BTreeMap;
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
fn where_none_are_to_be_created_those_that_are_missing_are_told_and_stay_missing() {
    for cluster in clusters() {
        let kafka = kafka("absent").replace("[kafka]", "[kafka]\ncreate_topics = false");
        let place = Place::with_config(&format!("{QUICK}{kafka}"));
        let mut factory = place.start(&["run", "--demo", "--broker", cluster.bootstrap()]);
        wait_for("a missing topic to be told", || {
            factory.health()["reason"].as_str().is_some_and(|reason| reason.contains("topic absent."))
        });
        factory.signal("TERM");
        factory.wait();
        assert_eq!(rows(&topics(&place, cluster, &["list"]), "absent"), ["missing"; 7]);
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

/// What Kafka's own tool makes a topic with.
fn create(cluster: &Cluster, topic: &str, bytes_max: usize) {
    let config = format!("max.message.bytes={bytes_max}");
    cluster.tool("TopicCommand", &["--create", "--topic", topic, "--partitions", "3", "--config", &config]);
}

#[test]
fn batches_that_a_topic_finds_too_large_are_split_and_nothing_is_lost_or_doubled() {
    for cluster in clusters() {
        for codec in ["none", "gzip", "zstd"] {
            let test = format!("split-{codec}");
            let config =
                format!("{QUICK}{}", kafka(&test)).replace("[kafka]", &format!("[kafka]\ncompression_type = '{codec}'"));
            let place = Place::with_config(&config);
            NAMES[1..].iter().for_each(|name| create(cluster, &format!("{test}.{name}"), 1500));
            let orders: String = (0..60).map(|n| order(&format!("L-{n}"), "Italia") + "\n").collect();
            place.write("orders.jsonl", &orders);
            let args =
                ["run", "--orders", "orders.jsonl", "--speed", "max", "--until-idle", "--broker", cluster.bootstrap()];
            let said = String::from_utf8(place.run_ok(&[&args[..], &["--log-level", "debug"]].concat()).stderr).unwrap();
            assert!(said.contains(" bytes are too much, split"), "{codec}: nothing was split");
            assert!(
                said.contains("orders come from orders.jsonl") && !said.contains("created"),
                "no topic for orders: {said}"
            );
            assert!(said.contains("every record is acknowledged") && !said.contains(" refused"), "{said}");
            assert_eq!(lots(cluster, &test, "lot.completed").len(), 60);
            let sent: Vec<Received> =
                NAMES[1..].iter().flat_map(|name| cluster.consume(&format!("{test}.{name}"), &[])).collect();
            assert!(said.contains(&format!("records {} sent, 0 waiting, 0 dropped", sent.len())), "{}, {said}", sent.len());
            let mut seqs: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
            for record in sent.iter().filter(|record| record.headers.contains_key("seq")) {
                let seq = record.headers["seq"].parse().unwrap();
                seqs.entry((&record.topic, record.key.as_deref().unwrap())).or_default().push(seq);
            }
            assert!(seqs.len() > 4, "telemetry of each stage");
            for (key, seqs) in &seqs {
                assert!(seqs.is_sorted_by(|a, b| a < b), "{codec}: {key:?} is out of order or doubled: {seqs:?}");
            }
        }
    }
}

#[test]
fn a_record_that_is_too_large_alone_is_told_and_counted_until_one_is_taken_again() {
    for cluster in clusters() {
        let test = "single";
        let place = place(test, "");
        create(cluster, "single.rejected", 900);
        let factory = place.start(&["run", "--speed", "60", "--broker", cluster.bootstrap()]);
        wait_for("the broker", || factory.health()["status"] == "healthy");
        send_orders(cluster, test, [json!({ "cliente": "x".repeat(3000) }).to_string()]);
        let reason = "topic single.rejected: MessageTooLarge (10); records lost: 1";
        wait_for("the refusal", || factory.health()["reason"] == reason);
        assert_eq!((&factory.health()["status"], factory.get("/ready").0), (&"degraded".into(), 200));
        let metrics = factory.get("/metrics").1;
        assert!(
            metrics.contains("mokasim_records_refused_total 1\n") && metrics.contains("mokasim_health 1\n"),
            "{metrics}"
        );
        send_orders(cluster, test, (0..60).map(|n| json!({ "cliente": n }).to_string()));
        wait_for("records to be taken again", || factory.health()["status"] == "healthy");
        let said = factory.stop();
        assert_eq!(said.matches("[ERROR] topic single.rejected: MessageTooLarge (10)").count(), 1, "{said}");
        assert_eq!(said.matches("topic single.rejected: records are taken again after").count(), 1, "{said}");
        cluster.tool("TopicCommand", &["--delete", "--topic", "single.rejected"]);
    }
}

#[test]
fn a_sender_says_what_it_waits_for_and_why_it_gives_up() {
    let place = place("waits", "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = place.run(&["send", "--count", "3", "--seed", "1", "--broker", &free]);
    let refused = format!("{free}: Connection refused (os error 111)");
    let told = format!("nothing acknowledged for 2 s: {refused}\n0 of 3 orders acknowledged by {free}, seed 1: {refused}\n");
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(69), told));

    let Some(cluster) = clusters().last() else { return };
    create(cluster, "waits.orders", 100);
    let args = ["send", "--count", "3", "--seed", "1", "--broker", cluster.bootstrap()];
    let output = place.run(&args);
    let reason = "topic waits.orders: MessageTooLarge (10); records lost: 3";
    let told = format!("0 of 3 orders acknowledged by {}, seed 1: {reason}\n", cluster.bootstrap());
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(69), told));
}

#[test]
fn a_listener_of_another_protocol_is_told_at_once() {
    for cluster in clusters() {
        let place = place("mismatch", "");
        for (listener, expected) in
            [("SSL", "a TLS alert, so the listener expects TLS"), ("SASL_PLAINTEXT", "before it answered a request")]
        {
            let begun = mokasim::clock::now();
            let output = place.run(&["topics", "list", "--broker", cluster.get(listener)]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.code() == Some(69) && said.contains(expected), "{said}");
            let taken = mokasim::clock::now() - begun;
            assert!(taken.as_secs() < 8, "{listener}: only after {taken:?}, as long as for a broker that may still come");
        }
    }
}
