//! Scenario 5: the broker is absent, killed, frozen or mute. The factory goes on, and nothing is lost.

use crate::broker::Cluster;
use crate::program::{Place, QUICK, Running, wait_for};
use crate::wire_check;
use crate::world::{CLIENTS, World, count, metric, order, report};
use mokasim::clock;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_nothing() {
    outages("auto");
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_the_classic_client_nothing() {
    outages("classic");
}

fn outages(client: &str) {
    let Some(cluster) = Cluster::up(&format!("program-{client}"), "3.9.2", &[]) else { return };
    comes_late_goes_and_comes_back(&cluster, client);
    is_away_until_memory_is_full(&cluster, client);
    freezes(&cluster, client);
}

fn comes_late_goes_and_comes_back(cluster: &Cluster, client: &str) {
    let world = World::new(cluster, "outage", client, "", "");
    cluster.act("kill", None);
    let factory = world.start_alone(&["--demo", "--speed", "10"]);
    goes_on_alone(&factory);
    cluster.act("restart", None);
    wait_for("the broker", || factory.health()["status"] == "healthy");
    wait_for("the records that waited to leave", || count(&factory, "outbox_records") < 200);
    world.order(&[order("L-1", "Italia", "alta")]);
    wait_for("the order", || factory.said().contains("lot L-1 completed"));

    let before = factory.said().len();
    cluster.act("kill", None);
    goes_on_alone(&factory);
    cluster.act("restart", None);
    wait_for("the broker", || factory.health()["status"] == "healthy");
    wait_for("the records that waited to leave", || count(&factory, "outbox_records") < 200);
    world.order(&[order("L-2", "Italia", "alta")]);
    wait_for("the order", || factory.said().contains("lot L-2 completed"));
    assert_eq!(metric(&factory, "records_dropped_total"), 0.0);
    let said = factory.stop();
    assert!(said.contains("every record is acknowledged"), "{said}");
    // What a broker that has just started refuses for a moment is another matter.
    let is_of_connection = |line: &&str| ["roker", "onnect"].iter().any(|word| line.contains(word));
    let lines = said[before..].lines().filter(is_of_connection);
    let told: Vec<&str> = lines.filter(|line| !line.contains("[INFO] ") || line.contains("onnected")).collect();
    assert!(told.len() == 2 && told[0].contains("[WARN]") && told[1].contains("[INFO]"), "{told:#?}");

    let sent = world.check_once_each();
    assert_eq!(sent.ledger.completed.len(), completed_lots(&said));
}

/// Without its broker, the factory says so, ticks, makes lots and keeps the records.
fn goes_on_alone(factory: &Running) {
    wait_for("the loss to be seen", || factory.health()["status"] == "degraded");
    let (at, lots) = (metric(factory, "simulated_time_seconds"), count(factory, "completed_lots"));
    wait_for("records to wait", || {
        let health = factory.health();
        assert_eq!(health["status"], "degraded");
        assert!(health["last_tick_ms_ago"].as_u64().unwrap() < 1_000, "{health}");
        health["outbox_records"].as_u64().unwrap() > 1_000
    });
    assert!(metric(factory, "simulated_time_seconds") > at && count(factory, "completed_lots") > lots);
    assert_eq!(factory.get("/ready").0, 503);
}

/// What gives way then is the oldest telemetry, which is counted, and the intake of orders; no event is lost.
fn is_away_until_memory_is_full(cluster: &Cluster, client: &str) {
    let world = World::new(cluster, "full", client, "", "buffer_bytes = 1048576");
    let factory = world.start(&["--demo", "--speed", "60"]);
    wait_for("work", || count(&factory, "completed_lots") > 0);
    cluster.act("kill", None);
    wait_for("memory to be full", || {
        factory.health()["intake_paused"] == true && metric(&factory, "records_dropped_total") > 0.0
    });
    cluster.act("restart", None);
    wait_for("the records that waited to leave", || {
        factory.health()["status"] == "healthy" && factory.health()["intake_paused"] == false
    });
    world.order(&[order("L-1", "Italia", "alta")]);
    wait_for("the order", || factory.said().contains("lot L-1 completed"));
    let said = factory.stop();
    assert!(said.contains("every record is acknowledged") && !said.contains(" refused"), "{said}");
    // It may have been full once more since it was asked.
    let dropped: u64 = said.rsplit_once(" waiting, ").unwrap().1.split(' ').next().unwrap().parse().unwrap();

    let mut received = world.received();
    let mut events: Vec<_> = received.remove("events").unwrap().into_iter().map(|record| world.read(record)).collect();
    if client == "classic" {
        let mut seen = BTreeSet::new();
        events.retain(|event| seen.insert((event.key.clone(), event.value.to_string())));
    }
    let ledger = wire_check::events(&events);
    assert_eq!(ledger.completed.len(), completed_lots(&said));
    if client != "classic" {
        let mut last_seqs: BTreeMap<String, u64> = BTreeMap::new();
        let records: Vec<_> = received.into_values().flatten().collect();
        for record in &records {
            let last = last_seqs.entry(record.key.clone().unwrap()).or_default();
            let seq = record.headers["seq"].parse().unwrap();
            assert!(*last < seq, "out of order: {record:?}");
            *last = seq;
        }
        assert_eq!(last_seqs.values().sum::<u64>() - records.len() as u64, dropped, "gaps that were not counted");
    }
}

/// As the last status line has them: lines of single lots may be dropped where standard error is slow.
fn completed_lots(said: &str) -> usize {
    let (before, _) = said.rsplit_once(" done; machines ").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// It takes connections and answers nothing.
fn freezes(cluster: &Cluster, client: &str) {
    let world = World::new(cluster, "frozen", client, "", "");
    let factory = world.start(&["--demo", "--speed", "20", "--tick", "10"]);
    wait_for("work", || count(&factory, "completed_lots") > 0);
    cluster.act("stop", None);
    ticks_on_time(&factory, &format!("{client}, frozen broker"), &Ticks::of(&factory));
    leaves_in_time(factory);
    cluster.act("cont", None);
}

/// A port that is taken and never served, and a name that nobody knows.
#[test]
fn a_mute_or_unknown_broker_never_delays_a_tick_nor_the_end() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = [mute.local_addr().unwrap().to_string(), "no-such-host.invalid:9092".to_owned()];
    let factories = brokers.iter().flat_map(|broker| {
        CLIENTS.map(|client| {
            let place = Place::with_config(&format!("{QUICK}[kafka]\nclient = \"{client}\"\n"));
            let factory = place.start(&["run", "--demo", "--speed", "20", "--tick", "10", "--broker", broker]);
            (format!("{client}, {broker}"), Ticks::of(&factory), factory, place)
        })
    });
    // All are started before the first is looked at.
    for (what, before, factory, _place) in factories.collect::<Vec<_>>() {
        ticks_on_time(&factory, &what, &before);
        assert_eq!(factory.health()["status"], "degraded");
        leaves_in_time(factory);
    }
}

/// Bounds of the histogram of tick lateness, in seconds.
const BOUNDS: [&str; 11] =
    ["0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25"];

/// How many ticks there were, and how many within each bound.
struct Ticks {
    count: u64,
    within: [u64; BOUNDS.len()],
}

impl Ticks {
    fn of(factory: &Running) -> Self {
        wait_for("the first tick", || metric(factory, "ticks_total") > 0.0);
        let bucket = |bound| metric(factory, &format!("tick_lateness_seconds_bucket{{le=\"{bound}\"}}")) as u64;
        // Counted last: a tick that comes in between is rather too late than on time.
        Self { within: BOUNDS.map(bucket), count: metric(factory, "tick_lateness_seconds_count") as u64 }
    }
}

/// Waits for a thousand ticks since `before` and looks how late they were. Here the machine is busy with other tests, so that
/// only ticks that waited for the broker stand out.
fn ticks_on_time(factory: &Running, what: &str, before: &Ticks) {
    wait_for("a thousand ticks", || {
        clock::sleep(Duration::from_millis(100));
        metric(factory, "ticks_total") as u64 >= before.count + 1_000
    });
    let after = Ticks::of(factory);
    let passed = after.count - before.count;
    let within: Vec<u64> = after.within.iter().zip(before.within).map(|(after, before)| after - before).collect();
    let permille = |share: u64| {
        let bound = within.iter().position(|ticks| ticks * 1_000 >= passed * share);
        bound.map_or("more than 0.25", |bound| BOUNDS[bound])
    };
    let (half, most) = (permille(500), permille(999));
    report(&format!("{what}: {passed} ticks, half at most {half} s late, 99.9 % at most {most} s"));
    assert!(within[9] * 1_000 >= passed * 990, "{what}: {within:?} of {passed} ticks within {BOUNDS:?} s");
}

/// Asked to leave, it does so although records wait for a broker, and says how many.
fn leaves_in_time(factory: Running) {
    wait_for("records to wait", || count(&factory, "outbox_records") > 0);
    let asked_at = clock::now();
    let said = factory.stop();
    let took = clock::now() - asked_at;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let left = said.lines().find_map(|line| line.split_once("stopped: ")?.1.strip_suffix(" records were left unsent"));
    assert!(left.unwrap_or_else(|| panic!("{said}")).parse::<u64>().unwrap() > 0, "{said}");
}
