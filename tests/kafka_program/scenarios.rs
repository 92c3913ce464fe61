//! The documentation's scenarios of a broker that is there: basic, load, priority, location; and full speed.

use crate::broker::{Cluster, ToSend};
use crate::program::{Running, wait_for};
use crate::wire_check;
use crate::world::{CLIENTS, World, count, metric, order, report, shared, wait_until_idle};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

#[test]
fn five_lots_are_made_and_every_record_keeps_the_wires_promises() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        five_lots(cluster, client);
    }
}

#[test]
fn a_broker_of_4_x_is_served_natively_and_is_too_new_for_the_classic_client() {
    let Some(cluster) = Cluster::up("program-new", "4.3.1", &[]) else { return };
    five_lots(&cluster, "auto");
    others_write_and_read(&cluster);
    let world = World::new(&cluster, "too-new", "classic", "", "");
    let factory = world.start_alone(&["--demo"]);
    let named = format!("broker {} speaks Fetch 4 and later (Apache Kafka 4.0 or newer)", cluster.bootstrap());
    wait_for("the reason", || factory.said().contains(&named));
    wait_for("the first telemetry", || count(&factory, "outbox_records") > 0);
    let health = factory.health();
    assert_eq!(health["status"], "degraded");
    assert!(health["reason"].as_str().unwrap().contains(&named), "{health}");
    assert!(factory.stop().contains("records were left unsent"));
    let sent = world.place.run(&["send", "--count", "1", "--broker", cluster.bootstrap()]);
    let told = String::from_utf8(sent.stderr).unwrap();
    assert!(sent.status.code() == Some(69) && told.contains(&named), "{told}");
}

/// Scenario 1.
fn five_lots(cluster: &Cluster, client: &str) {
    let world = World::new(cluster, "basic", client, "", "");
    let factory = world.start(&["--speed", "20"]);
    let sent = world.place.run_ok(&["send", "--mode", "batch", "--count", "5", "--broker", cluster.bootstrap()]);
    let sent = String::from_utf8(sent.stdout).unwrap();
    assert!(sent.contains("5 of 5 orders acknowledged"), "{sent}");
    wait_for("five lots", || count(&factory, "completed_lots") == 5);
    wait_until_idle(&factory);
    let health = factory.health();
    assert_eq!((health["status"].as_str(), health["kafka_connected"].as_bool()), (Some("healthy"), Some(true)));
    assert_eq!(health["kafka_broker"].as_str(), Some(cluster.bootstrap()));
    assert_eq!(health["rejected_orders"], 0);
    let acknowledged = metric(&factory, "records_acknowledged_total") as usize;
    let said = factory.stop();
    assert!(said.contains("every record is acknowledged"), "{said}");

    let sent = world.check();
    let ordered: BTreeSet<String> = cluster.consume(&world.topic("orders"), &[]).iter().map(code_of).collect();
    assert_eq!(ordered.len(), 5);
    assert_eq!(sent.ledger.completed, ordered);
    assert_eq!(sent.events.len() + sent.telemetry.len(), acknowledged);
    assert!(sent.rejected.is_empty());
}

fn code_of(order: &crate::broker::Received) -> String {
    let order: serde_json::Value = serde_json::from_str(&order.value).unwrap();
    order["codice_lotto"].as_str().unwrap().to_owned()
}

#[test]
fn kcat_and_java_write_the_orders_read_the_records_and_see_the_group() {
    let Some(cluster) = shared() else { return };
    others_write_and_read(cluster);
}

fn others_write_and_read(cluster: &Cluster) {
    let world = World::new(cluster, "others", "auto", "", "");
    let orders = |name: &str, count: u32| -> Vec<ToSend> {
        (0..count).map(|n| order(&format!("{name}-{n}"), "Vietnam", "alta")).collect()
    };
    let topic = world.topic("orders");
    let factory = world.start(&["--speed", "60"]);
    cluster.produce_by_kcat(&topic, &orders("KCAT", 6));
    cluster.produce_by_java(&topic, &orders("JAVA", 6));
    wait_for("twelve lots", || count(&factory, "completed_lots") == 12);
    wait_until_idle(&factory);
    let members = world.group(&["--members"]);
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!((&*members[0]["CLIENT-ID"], &*members[0]["#PARTITIONS"]), ("mokasim", "3"), "{members:?}");
    assert_eq!(world.lag(), 0);
    factory.stop();
    cluster.produce_by_kcat(&topic, &orders("LATE", 4));
    assert_eq!((world.lag(), world.group(&["--members"]).len()), (4, 0), "lag and members when it has left");

    let received = world.received();
    world.check_other_readers(&received);
    let codes = ["KCAT", "JAVA"].into_iter().flat_map(|name| (0..6).map(move |n| format!("{name}-{n}"))).collect();
    assert_eq!(world.check().ledger.completed, codes);
}

/// Scenario 2: ten lots a minute of simulated time, at sixty times its speed. The codes remembered are few, so that their
/// memory is in use when the load begins.
#[test]
fn under_load_memory_stays_flat_and_every_lot_is_made() {
    let Some(cluster) = shared() else { return };
    let world = World::new(cluster, "load", "native", "[capacity]\nlots = 1000\nremembered_codes = 100\n", "");
    let factory = world.start(&["--speed", "60"]);
    world.place.run_ok(&["send", "--count", "400", "--seed", "1"]);
    wait_for("the warm-up", || count(&factory, "completed_lots") == 400);
    let warm_kib = resident_kib(&factory);

    let mut sender =
        world.place.launch(&["send", "--mode", "continuous", "--rate", "600", "--duration", "0.2", "--seed", "2"]);
    let mut busy_max = 0;
    wait_for("120 lots", || {
        busy_max = busy_max.max(factory.health()["machines"]["busy"].as_u64().unwrap());
        count(&factory, "completed_lots") == 520
    });
    assert!(sender.wait().success());
    wait_until_idle(&factory);
    let grown_kib = resident_kib(&factory).saturating_sub(warm_kib);
    report(&format!("{warm_kib} KiB resident after 400 lots, {grown_kib} more after 120; {busy_max} machines busy at most"));
    assert!(grown_kib <= 256, "{grown_kib} KiB more than the {warm_kib} KiB after the warm-up");
    assert!((1..=26).contains(&busy_max), "{busy_max}");
    assert_eq!(metric(&factory, "records_dropped_total"), 0.0);
    factory.stop();
    assert_eq!(world.check().ledger.completed.len(), 520);
}

fn resident_kib(factory: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", factory.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Scenario 3.
#[test]
fn at_every_stage_alta_goes_before_normale_before_bassa_and_the_oldest_first() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        let world = World::new(cluster, "priority", client, "", "");
        world.in_one_partition("orders");
        world.in_one_partition("events");
        let orders: Vec<ToSend> =
            (0..90).map(|n| order(&format!("P-{n:02}"), "Italia", ["bassa", "normale", "alta"][n * 7 % 3])).collect();
        world.order(&orders);
        let factory = world.start(&["--speed", "60"]);
        wait_for("the lots", || count(&factory, "completed_lots") == 90);
        factory.stop();
        let sent = world.check();
        assert_eq!(sent.ledger.completed.len(), 90);
        let overtakings = wire_check::queues(&sent.events);
        assert!(overtakings > 30, "{overtakings} lots overtook another: the queues were hardly used");
    }
}

/// Scenario 4: a plant works on its own lots alone, and a crowd at one plant holds up no other.
#[test]
fn every_lot_stays_at_its_plant_and_a_crowded_plant_holds_up_no_other() {
    let Some(cluster) = shared() else { return };
    let world = World::new(cluster, "location", "native", "", "");
    world.in_one_partition("orders");
    world.in_one_partition("events");
    let crowd = (0..60).map(|n| order(&format!("IT-{n}"), "Italia", "alta"));
    let few = (0..4).map(|n| order(&format!("VN-{n}"), "Vietnam", "bassa"));
    world.order(&crowd.chain(few).collect::<Vec<_>>());
    let factory = world.start(&["--speed", "60"]);
    wait_for("the lots", || count(&factory, "completed_lots") == 64);
    factory.stop();
    let sent = world.check();
    let completed = sent.events.iter().filter(|event| event.value["event_type"] == "lot.completed");
    let places: Vec<usize> =
        completed.enumerate().filter(|(_, event)| event.key.starts_with("VN")).map(|(place, _)| place).collect();
    assert!(places.len() == 4 && places[3] < 32, "the lots of Vietnam were completed in places {places:?}");
    let plants: BTreeSet<&str> = sent.telemetry.iter().map(|record| record.value["luogo"].as_str().unwrap()).collect();
    assert_eq!(plants, BTreeSet::from(["Italia", "Vietnam"]), "Brasile had no order");
}

/// What a machine or a lot sent: instant, headers and value of each record.
type Story = BTreeMap<(String, String), Vec<(Option<i64>, BTreeMap<String, String>, serde_json::Value)>>;

/// The broker takes the records more slowly than they are made, and memory for them is small: the clock waits.
#[test]
fn at_full_speed_the_broker_gets_what_the_spool_gets_and_nothing_is_dropped() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        let world = World::new(cluster, "max", client, "", "buffer_bytes = 1048576");
        let mut lines = String::new();
        for n in 0..600 {
            let site = ["Italia", "Brasile", "Vietnam"][n % 3];
            let _ = writeln!(lines, "{}", order(&format!("M-{n:03}"), site, "normale").value);
        }
        world.place.write("orders.jsonl", &lines);
        let args = ["run", "--orders", "orders.jsonl", "--speed", "max", "--until-idle", "--seed", "7"];
        let args = [&args[..], &["--start", "2026-06-01T08:00:00Z"]].concat();
        let output = world.place.run_ok(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(" 0 waiting, 0 dropped") && said.contains("every record is acknowledged"), "{said}");
        assert_eq!(world.check().ledger.completed.len(), 600);

        world.place.run_ok(&[&args[..], &["--data", "spool"]].concat());
        let mut in_kafka = Story::new();
        let mut in_spool = Story::new();
        for (name, records) in world.received() {
            for record in records {
                let instant = (client != "classic").then_some(record.timestamp);
                let value = serde_json::from_str(&record.value).unwrap();
                let story = in_kafka.entry((name.clone(), record.key.unwrap())).or_default();
                story.push((instant, record.headers, value));
            }
            for line in world.place.topic("spool", &world.topic(&name)) {
                let mut record = wire_check::Read::from_spool(&line);
                if client == "classic" {
                    (record.timestamp, record.headers) = (None, BTreeMap::new());
                }
                let story = in_spool.entry((name.clone(), record.key)).or_default();
                story.push((record.timestamp, record.headers, record.value));
            }
        }
        assert_eq!(in_kafka.len(), in_spool.len());
        for (key, story) in &in_spool {
            assert_eq!(&in_kafka[key], story, "{key:?}");
        }
    }
}
