//! Two instances with one `group_instance_id`, as a configuration or a disk that is copied makes them.

use crate::broker::{Cluster, SHORT_SESSIONS};
use crate::program::{Place, Running, wait_for};
use crate::world::{World, metric, order, shared};
use std::sync::OnceLock;

const NAME: &str = "group_instance_id = \"edge-1\"";
const SPEED: [&str; 2] = ["--speed", "5"];
const ORDERS: u64 = 6;

/// A broker with the groups of KIP-848.
fn modern() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::up("twins", "4.3.1", &SHORT_SESSIONS)).as_ref()
}

fn accepted(factory: &Running) -> u64 {
    metric(factory, "orders_accepted_total") as u64
}

/// A folder with the same configuration.
fn place_like(world: &World<'_>) -> Place {
    Place::with_config(&std::fs::read_to_string(world.place.path("config.toml")).unwrap())
}

fn start(place: &Place) -> Running {
    place.start(&[&["run"], &SPEED[..]].concat())
}

/// Sends orders; waits until `factory` has taken them and committed that.
fn orders_go_to(world: &World<'_>, name: &str, factory: &Running) {
    let before = accepted(factory);
    let orders: Vec<_> = (0..ORDERS).map(|n| order(&format!("{name}-{n}"), "Italia", "normale")).collect();
    world.order(&orders);
    wait_for("the orders to be taken", || accepted(factory) == before + ORDERS);
    wait_for("the orders to be committed", || world.lag() == 0);
}

/// Waits until an instance says on its pages that another one has its name; it has said so once in its log.
fn is_out(world: &World<'_>, factory: &Running, reason: &str) {
    wait_for("the reason", || factory.health()["reason"].as_str().is_some_and(|said| said.contains(reason)));
    let (code, page) = factory.get("/health");
    let health: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((code, &health["status"]), (503, &"unhealthy".into()), "{health}");
    let said = health["reason"].as_str().unwrap();
    assert!(said.contains("`edge-1`") && said.contains(&world.name), "{said}");
    assert_eq!(factory.get("/ready").0, 503);
    assert_eq!(factory.said().matches(reason).count(), 1, "{}", factory.said());
}

fn is_in(factory: &Running) {
    wait_for("readiness", || factory.get("/ready").0 == 200 && factory.health()["status"] == "healthy");
}

/// Checks that each order was made once.
fn made_once_each(world: &World<'_>, orders: u64) {
    assert_eq!(world.check().ledger.lots.len() as u64, orders, "each order was received, once");
}

/// Killed, or frozen until the other has its place: then it comes back to find itself replaced.
#[test]
fn a_twin_waits_and_takes_over_when_the_session_of_the_first_has_ended() {
    let Some(cluster) = modern() else { return };
    for (way_to_die, name) in [("KILL", "twins-killed"), ("STOP", "twins-frozen")] {
        let world = World::new(cluster, name, "native", "", NAME);
        let first = world.start(&SPEED);
        orders_go_to(&world, "BEFORE", &first);
        let twin_place = place_like(&world);
        let twin = start(&twin_place);
        is_out(&world, &twin, "another instance is alive under the group_instance_id");
        orders_go_to(&world, "BESIDE", &first);
        is_in(&first);

        first.signal(way_to_die);
        orders_go_to(&world, "AFTER", &twin);
        is_in(&twin);
        assert_eq!(accepted(&twin), ORDERS, "no more than came after");
        if way_to_die == "STOP" {
            first.signal("CONT");
            is_out(&world, &first, "another instance has taken over the group_instance_id");
            orders_go_to(&world, "LATER", &twin);
            is_in(&twin);
            assert_eq!(accepted(&first), 2 * ORDERS);
            wait_for("the lots it had", || first.health()["completed_lots"] == 2 * ORDERS);
            first.stop();
        }
        let all = 2 * ORDERS + accepted(&twin);
        wait_for("the lots it had", || twin.health()["completed_lots"] == accepted(&twin));
        twin.stop();
        made_once_each(&world, all);
    }
}

#[test]
fn of_two_with_one_data_folder_copied_the_later_goes_on() {
    let Some(cluster) = modern() else { return };
    the_later_goes_on(cluster, "twins-copied", |world, twin| {
        let of_first = world.place.path("data/.member");
        wait_for("the member id", || of_first.exists());
        std::fs::create_dir(twin.path("data")).unwrap();
        std::fs::copy(of_first, twin.path("data/.member")).unwrap();
    });
}

#[test]
fn of_two_in_a_classic_group_the_later_goes_on() {
    let Some(cluster) = shared() else { return };
    the_later_goes_on(cluster, "twins-classic", |_, _| {});
}

fn the_later_goes_on(cluster: &Cluster, name: &str, prepare: impl Fn(&World<'_>, &Place)) {
    let world = World::new(cluster, name, "native", "", NAME);
    let mut first = world.start(&SPEED);
    orders_go_to(&world, "BEFORE", &first);
    let twin_place = place_like(&world);
    prepare(&world, &twin_place);
    let twin = start(&twin_place);
    is_out(&world, &first, "another instance has taken over the group_instance_id");
    for name in ["BESIDE", "LATER"] {
        orders_go_to(&world, name, &twin);
        is_in(&twin);
    }
    is_out(&world, &first, "another instance has taken over the group_instance_id");
    assert!(!first.has_left(), "{}", first.said());
    assert_eq!((accepted(&first), accepted(&twin)), (ORDERS, 2 * ORDERS));
    for (factory, lots) in [(&first, ORDERS), (&twin, 2 * ORDERS)] {
        wait_for("the lots it had", || factory.health()["completed_lots"] == lots);
    }
    first.stop();
    twin.stop();
    made_once_each(&world, 3 * ORDERS);
}
