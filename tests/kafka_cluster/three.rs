//! The cluster, and a factory's topics on it.

use crate::broker::{Cluster, SHORT_SESSIONS, ToSend};
use crate::program::{Place, wait_for};
use crate::wire_check::Ledger;
use crate::world::{World, order};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);

/// The cluster, for one test at a time, with all its brokers up.
pub(crate) struct Three(MutexGuard<'static, Option<Cluster>>);

impl Three {
    /// `None` where no broker is to be had.
    pub(crate) fn take() -> Option<Self> {
        let was_left_broken = CLUSTER.is_poisoned();
        let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        CLUSTER.clear_poison();
        if cluster.is_none() {
            *cluster = Cluster::up("cluster", "4.3.1", &[&["--brokers", "3"][..], &SHORT_SESSIONS].concat());
        } else if was_left_broken {
            cluster.as_ref()?.act("restart", None);
        }
        cluster.is_some().then_some(Self(cluster))
    }
}

impl std::ops::Deref for Three {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().unwrap()
    }
}

/// Whether this is the run in full length.
pub(crate) fn is_full() -> bool {
    std::env::var_os("MOKASIM_LONG").is_some()
}

/// The length in the full run, or the short one.
pub(crate) fn length(full_s: u64, short_s: u64) -> Duration {
    Duration::from_secs(if is_full() { full_s } else { short_s })
}

/// A factory's world whose topics are made beforehand, each partition on all three brokers.
pub(crate) fn world<'a>(three: &'a Three, name: &str, partitions: &str, kafka: &str) -> World<'a> {
    let world = World::new(three, name, "native", "", kafka);
    world.place.run_ok(&["topics", "create", "--partitions", partitions]);
    wait_for("each topic on every broker", || {
        let listed = world.place.run_ok(&["topics", "list"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let has_numbers = |line: &&str| line.split_whitespace().skip(1).take(2).eq([partitions, "3"]);
        listed.lines().filter(has_numbers).count() == 7
    });
    world
}

/// A folder for another instance of the same factory.
pub(crate) fn beside(world: &World<'_>) -> Place {
    Place::with_config(&configuration(world))
}

/// The factory's configuration.
pub(crate) fn configuration(world: &World<'_>) -> String {
    std::fs::read_to_string(world.place.path("config.toml")).unwrap()
}

/// Orders spread over the partitions and over the sites.
pub(crate) fn orders(name: &str, count: u32, partitions: u32) -> Vec<ToSend> {
    let spread = |n: u32| {
        let site = ["Italia", "Brasile", "Vietnam"][n as usize % 3];
        ToSend { partition: Some((n % partitions) as i32), ..order(&format!("{name}-{n:03}"), site, "normale") }
    };
    (0..count).map(spread).collect()
}

/// What is in the log.
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) ledger: Ledger,
}

/// Checks that all records in the log keep the wire's promises, and that each order in its topic was received once.
pub(crate) fn check(world: &World<'_>) -> Found {
    let mut partitions: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    let received = world.received();
    for record in received.values().flatten() {
        let key = record.key.as_deref().unwrap();
        let partition = *partitions.entry((&record.topic, key)).or_insert(record.partition);
        assert_eq!(record.partition, partition, "a key has its partition, hence its order: {record:?}");
    }
    world.check_other_readers(&received);

    let sent = world.check();
    assert!(sent.rejected.is_empty(), "{:?}", sent.rejected);
    let orders = world.cluster.consume(&world.topic("orders"), &["isolation.level=read_committed"]);
    let code = |order: &serde_json::Value| order["codice_lotto"].as_str().unwrap().to_owned();
    let codes: BTreeSet<String> = orders.iter().map(|order| code(&serde_json::from_str(&order.value).unwrap())).collect();
    assert_eq!(codes.len(), orders.len(), "an order is twice in its topic");
    assert!(codes.iter().eq(sent.ledger.lots.keys()), "orders in the topic, and lots received");
    Found { records: received.values().map(Vec::len).sum::<usize>() as u64, ledger: sent.ledger }
}
