//! A factory that is stopped or killed and started again: the group's offsets tell it where to go on.

use crate::broker::ToSend;
use crate::program::{Running, wait_for};
use crate::world::{CLIENTS, World, count, metric, order, shared, wait_until_idle};
use std::collections::BTreeMap;

const LOTS: usize = 60;
/// Room for fewer lots than there are orders: the others wait in their topic.
const FEW: &str = "[capacity]\nlots = 15\n";

fn orders() -> Vec<ToSend> {
    (0..LOTS).map(|n| order(&format!("R-{n:02}"), ["Italia", "Brasile", "Vietnam"][n % 3], "normale")).collect()
}

fn accepted(factory: &Running) -> u64 {
    metric(factory, "orders_accepted_total") as u64
}

/// Orders wait in the topic while the factory is full, and while there is none.
#[test]
fn after_a_restart_no_order_is_lost_and_none_is_made_twice() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        let world = World::new(cluster, "restart", client, FEW, "");
        let (first, second) = (orders()[..LOTS / 2].to_vec(), orders()[LOTS / 2..].to_vec());
        world.order(&first);
        let factory = world.start(&["--speed", "20"]);
        wait_for("some lots", || count(&factory, "completed_lots") >= 5);
        let in_first = completed_at_the_end(factory);
        assert!(in_first < LOTS / 2, "all {in_first} lots were made before the restart");
        world.order(&second);

        let factory = world.start(&["--speed", "60"]);
        wait_until_idle(&factory);
        let in_second = completed_at_the_end(factory);
        let factory = world.start(&["--speed", "60"]);
        wait_until_idle(&factory);
        assert_eq!((accepted(&factory), metric(&factory, "orders_skipped_total")), (0, 0.0));
        factory.stop();

        let sent = world.check();
        assert_eq!(sent.ledger.lots.len(), LOTS, "each order was received, once");
        assert_eq!(sent.ledger.completed.len(), in_first + in_second);
    }
}

/// Stops the factory and returns how many lots it had completed.
fn completed_at_the_end(factory: Running) -> usize {
    let said = factory.stop();
    let (_, status) = said.rsplit_once("status at ").unwrap();
    let (before, _) = status.split_once(" done;").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Killed while it is full: what it had taken may come again, what it had not taken comes.
#[test]
fn a_killed_factory_loses_no_order() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        let world = World::new(cluster, "killed", client, FEW, "");
        world.order(&orders());
        let factory = world.start(&["--speed", "0.01"]);
        wait_for("the factory to be full", || accepted(&factory) == 15 && count(&factory, "outbox_records") == 0);
        factory.signal("KILL");
        drop(factory);
        let factory = world.start(&["--speed", "60"]);
        wait_until_idle(&factory);
        let again = accepted(&factory);
        factory.stop();

        let mut received: BTreeMap<String, u64> = BTreeMap::new();
        for event in &world.received()["events"] {
            if event.value.contains("lot.received") {
                *received.entry(event.key.clone().unwrap()).or_default() += 1;
            }
        }
        assert_eq!(received.len(), LOTS, "an order was lost");
        let twice = received.values().filter(|times| **times == 2).count() as u64;
        assert_eq!((received.values().sum::<u64>(), again), (LOTS as u64 + twice, LOTS as u64 - 15 + twice));
    }
}
