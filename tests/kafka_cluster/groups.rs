//! Several factories share the orders of one topic by their group: Kafka spreads them, and Kafka's own tool shows it.

use crate::faults::acknowledged_at_the_end;
use crate::program::{Place, Running, wait_for};
use crate::three::{Three, beside, check, configuration, orders, world};
use crate::world::{World, metric, report};
use std::collections::BTreeMap;

const PARTITIONS: u32 = 6;

/// A group as Kafka's own tool shows it.
struct Shown<'a>(&'a World<'a>);

impl Shown<'_> {
    /// Partitions by member, each by its name if it has one, of a group at rest.
    fn members(&self) -> BTreeMap<String, String> {
        let rows = self.0.group(&["--members", "--verbose"]);
        let name = |row: &mut BTreeMap<String, String>| row.remove("GROUP-INSTANCE-ID").or(row.remove("CONSUMER-ID"));
        rows.into_iter().map(|mut row| (name(&mut row).unwrap(), row.remove("CURRENT-ASSIGNMENT").unwrap())).collect()
    }

    fn epoch(&self) -> String {
        self.0.group(&["--state", "--verbose"])[0].remove("GROUP-EPOCH").unwrap()
    }

    /// Waits until the group is of so many members, at rest.
    fn wait_for_members(&self, count: usize) {
        wait_for(&format!("a group of {count}"), || {
            let state = self.0.group(&["--state"]);
            state.first().is_some_and(|state| state["STATE"] == "Stable" && state["#MEMBERS"] == count.to_string())
        });
    }
}

fn accepted(factory: &Running) -> u64 {
    metric(factory, "orders_accepted_total") as u64
}

/// Starts another instance.
fn start(place: &Place) -> Running {
    place.start(&["run", "--speed", "1"])
}

/// Waits until each instance takes orders.
fn each_takes_orders(instances: &[&Running]) {
    let before: Vec<u64> = instances.iter().map(|factory| accepted(factory)).collect();
    wait_for("each instance to take orders", || {
        instances.iter().zip(&before).all(|(factory, before)| accepted(factory) > *before)
    });
}

/// Orders flow all the time, until one is killed: what it had taken and not committed would come again.
#[test]
fn instances_come_leave_and_die_and_each_order_becomes_one_lot() {
    let Some(three) = Three::take() else { return };
    let world = world(&three, "shared", &PARTITIONS.to_string(), "");
    let group = Shown(&world);
    let mut sender = world.place.launch(&["send", "--mode", "continuous", "--rate", "600"]);
    let (second_place, third_place) = (beside(&world), beside(&world));
    let first = world.start(&["--speed", "1"]);
    let second = start(&second_place);
    group.wait_for_members(2);
    each_takes_orders(&[&first, &second]);
    let third = start(&third_place);
    group.wait_for_members(3);
    each_takes_orders(&[&first, &second, &third]);
    let members = group.members();
    assert!(members.len() == 3 && members.values().all(|partitions| partitions.matches(',').count() == 1), "{members:?}");

    let of_second = acknowledged_at_the_end(second);
    group.wait_for_members(2);
    each_takes_orders(&[&first, &third]);
    sender.signal("TERM");
    assert!(sender.wait().success(), "{}", sender.said());
    wait_for("every order to be committed", || world.lag() == 0);

    let of_third = metric(&third, "records_acknowledged_total") as u64;
    third.signal("KILL");
    world.order(&orders("AFTER", 4 * PARTITIONS, PARTITIONS));
    group.wait_for_members(1);
    wait_for("the orders of the dead", || world.lag() == 0);
    let of_first = acknowledged_at_the_end(first);

    let found = check(&world);
    assert!(found.records >= of_first + of_second + of_third, "{} records in the log", found.records);
    report(&format!("shared: {} orders, one lot each, by instances that come, leave and die", found.ledger.lots.len()));
}

#[test]
fn a_static_member_that_restarts_or_dies_keeps_its_place_and_moves_no_partition() {
    let Some(three) = Three::take() else { return };
    let world = world(&three, "static", &PARTITIONS.to_string(), "group_instance_id = \"edge-1\"");
    let group = Shown(&world);
    let first = world.start(&["--speed", "1"]);
    let place = Place::with_config(&configuration(&world).replace("edge-1", "edge-2"));
    let mut second = start(&place);
    group.wait_for_members(2);
    let (members, epoch) = (group.members(), group.epoch());
    assert!(members.keys().eq(["edge-1", "edge-2"]), "{members:?}");

    for (n, signal) in ["TERM", "KILL"].into_iter().enumerate() {
        world.order(&orders(&format!("BEFORE-{n}"), 2 * PARTITIONS, PARTITIONS));
        wait_for("every order to be committed", || world.lag() == 0);
        second.signal(signal);
        second.wait();
        world.order(&orders(&format!("AFTER-{n}"), 2 * PARTITIONS, PARTITIONS));
        second = start(&place);
        wait_for("every order to be committed", || world.lag() == 0);
        assert_eq!(accepted(&second), u64::from(PARTITIONS), "of the orders that came while it was away, its half");
        assert_eq!((group.members(), group.epoch()), (members.clone(), epoch.clone()), "after {signal}");
        assert!(!second.said().contains("[WARN]"), "it is no news: {}", second.said());
    }
    let acknowledged = acknowledged_at_the_end(first) + acknowledged_at_the_end(second);
    let found = check(&world);
    assert!(found.records >= acknowledged, "{} records in the log", found.records);
    assert_eq!(found.ledger.lots.len() as u32, 8 * PARTITIONS);
    report(&format!("static: epoch {epoch} of {members:?} before and after a restart and a crash"));
}
