//! What a cluster may suffer while a factory runs: one broker or all of them killed, restarted or frozen. The same process goes
//! on, and in the end the log has every record once.

use crate::program::{Running, wait_for};
use crate::three::{Found, Three, check, length, orders, world};
use crate::world::{World, count, metric, report, wait_until_idle};
use mokasim::clock;
use std::time::Duration;

const PARTITIONS: u32 = 3;

#[test]
fn a_leader_is_killed_and_comes_back() {
    survives("killed", |world, _| {
        let leader = leader_of_events(world, None);
        world.cluster.act("kill", Some(leader));
        wait_for("another leader", || leader_of_events(world, Some(leader)) != leader);
        clock::sleep(length(30, 3));
        world.cluster.act("restart", Some(leader));
    });
}

#[test]
fn the_coordinator_of_the_group_is_killed_and_another_takes_commits_while_it_is_away() {
    survives("coordinator", |world, _| {
        let coordinator = world.group(&["--state"])[0]["(ID)"].trim_matches(['(', ')']).parse().unwrap();
        world.cluster.act("kill", Some(coordinator));
        let committed = || {
            let rows = world.group(&["--offsets"]);
            rows.iter().map(|row| row["CURRENT-OFFSET"].parse::<u64>().unwrap_or(0)).sum::<u64>()
        };
        let mut before = 0;
        wait_for("another coordinator", || {
            before = committed();
            before > 0
        });
        wait_for("commits", || committed() >= before + 10);
        world.cluster.act("restart", Some(coordinator));
    });
}

#[test]
fn the_brokers_are_restarted_one_after_the_other() {
    survives("rolling", |world, _| {
        for broker in 1..=3 {
            world.cluster.act("restart", Some(broker));
            clock::sleep(length(10, 0));
        }
    });
}

#[test]
fn a_leader_is_frozen_for_a_while() {
    survives("frozen", |world, factory| {
        let leader = leader_of_events(world, None);
        let frozen_at = clock::now();
        world.cluster.act("stop", Some(leader));
        let silence = format!(
            "broker {} has not answered for ",
            world.cluster.bootstrap().split(',').nth(leader as usize - 1).unwrap()
        );
        wait_for("the silence to be told", || {
            factory.health()["reason"].as_str().is_some_and(|reason| reason.starts_with(&silence))
        });
        let seconds = (clock::now() - frozen_at).as_secs();
        assert!(seconds < 12, "told before a request runs out of time: {seconds} s");
        wait_for("another leader", || leader_of_events(world, Some(leader)) != leader);
        clock::sleep(length(27, 1));
        world.cluster.act("cont", Some(leader));
    });
}

/// In a history besides: brokers that come back know no producer whose records are of long ago.
#[test]
fn all_brokers_are_gone_for_a_while() {
    survives_from(&["--start", "2026-01-01T00:00:00Z"], "gone", |world, _| {
        world.cluster.act("kill", None);
        clock::sleep(length(60, 5));
        world.cluster.act("restart", None);
    });
}

/// Each broker that was lost is told once, as is its return; what passes soon is not.
fn check_log(world: &World<'_>, factory: &Running) {
    for broker in world.cluster.bootstrap().split(',') {
        let count = |what: &str| factory.said().matches(&format!("Kafka broker {broker}: {what}")).count();
        let of_all = || count("");
        wait_for("the end of each outage", || of_all() == 2 * count("connected again after "));
        assert!(of_all() <= 4, "{}", factory.said());
    }
    let said = factory.said();
    for topic in ["orders", "events", "rejected", "telemetry.fresa_cnc"].map(|name| world.topic(name)) {
        let count = |what: &str| said.matches(&format!("topic {topic}: {what}")).count();
        let (all, ends) = (count(""), count("records are taken again after "));
        assert!(all == 2 * ends && ends <= 1, "{said}");
    }
}

fn leader_of_events(world: &World<'_>, not_asked: Option<u32>) -> u32 {
    let mut leader = None;
    wait_for("a leader", || {
        leader = world.cluster.leader(&world.topic("events"), 0, not_asked);
        leader.is_some()
    });
    leader.unwrap()
}

/// Runs a factory on orders of kcat and of Kafka's own producer, and of a sender that runs meanwhile, has the cluster suffer, and
/// looks whether any record or order was lost or doubled.
fn survives(name: &str, suffer: impl FnOnce(&World<'_>, &Running)) {
    survives_from(&[], name, suffer);
}

/// As [`survives`], beginning at another time.
fn survives_from(start: &[&str], name: &str, suffer: impl FnOnce(&World<'_>, &Running)) {
    let Some(three) = Three::take() else { return };
    let world = world(&three, name, &PARTITIONS.to_string(), "");
    let factory = world.start(&[&["--speed", "10"], start].concat());
    world.cluster.produce_by_kcat(&world.topic("orders"), &orders("BEFORE", 60, PARTITIONS));
    let send = || world.place.launch(&["send", "--mode", "continuous", "--rate", "180"]);
    let mut sender = send();
    wait_for("work", || count(&factory, "completed_lots") > 5);

    let began_at = clock::now();
    suffer(&world, &factory);
    let suffered = clock::now() - began_at;
    if sender.has_left() {
        assert!(suffered > Duration::from_secs(30), "it gives a silent cluster up, but not so soon: {}", sender.said());
        sender = send();
    }
    let health = factory.health();
    assert!(health["last_tick_ms_ago"].as_u64().unwrap() < 2_000, "{health}");
    wait_for("the cluster to be good again", || factory.health()["status"] == "healthy");
    let accepted = metric(&factory, "orders_accepted_total");
    wait_for("the sender's orders to come again", || metric(&factory, "orders_accepted_total") >= accepted + 15.0);
    let recovered = clock::now() - began_at - suffered;

    sender.signal("TERM");
    assert!(sender.wait().success(), "{}", sender.said());
    world.cluster.produce_by_java(&world.topic("orders"), &orders("AFTER", 9, PARTITIONS));
    wait_for("the last order", || metric(&factory, "orders_accepted_total") >= accepted + 24.0);
    wait_until_idle(&factory);
    check_log(&world, &factory);
    let acknowledged = acknowledged_at_the_end(factory);
    let Found { records, ledger } = check(&world);
    assert_eq!(records, acknowledged, "records in the log, and acknowledged");
    assert_eq!(ledger.completed.len(), ledger.lots.len(), "every lot is completed");
    report(&format!(
        "{name}: {acknowledged} records and {} orders once each; broken for {suffered:.1?}, all flows {recovered:.1?} later",
        ledger.lots.len()
    ));
}

/// Stops a factory that is idle; it dropped nothing, and its one process has had all its records acknowledged: how many.
pub(crate) fn acknowledged_at_the_end(factory: Running) -> u64 {
    assert_eq!(metric(&factory, "records_dropped_total"), 0.0);
    let acknowledged = metric(&factory, "records_acknowledged_total") as u64;
    let said = factory.stop();
    assert!(said.contains("every record is acknowledged"), "{said}");
    acknowledged
}
