//! The whole program on real brokers: who may talk to them, which topics it makes there, and which plants it plays.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "common/broker.rs"]
mod broker;
#[path = "kafka_product/old.rs"]
mod old;
#[path = "common/program.rs"]
mod program;
#[path = "kafka_product/recreated.rs"]
mod recreated;
#[path = "kafka_product/security.rs"]
mod security;
#[path = "kafka_product/sites.rs"]
mod sites;
#[path = "kafka_product/topics.rs"]
mod topics;

use broker::{Cluster, Received, ToSend};
use program::{Place, QUICK};
use serde_json::{Value, json};
use std::sync::OnceLock;

const VERSIONS: [&str; 2] = ["3.9.2", "4.3.1"];

/// A cluster of each version, with secured listeners; the end of the process takes them down.
fn clusters() -> impl Iterator<Item = &'static Cluster> {
    static CLUSTERS: OnceLock<Vec<Option<Cluster>>> = OnceLock::new();
    let up = |version: &str| Cluster::up(&format!("product-{}", version.replace('.', "-")), version, &["--secure"]);
    CLUSTERS.get_or_init(|| VERSIONS.map(up).into()).iter().flatten()
}

/// A folder for a factory in a hurry, with a group and topics of its own.
fn place(test: &str, rest: &str) -> Place {
    Place::with_config(&format!("{QUICK}{}{rest}", kafka(test)))
}

/// A group and topics that are named after the test.
fn kafka(test: &str) -> String {
    format!(
        "
        [kafka]
        group_id = '{test}'
        [kafka.topics]
        input = '{test}.orders'
        telemetry_prefix = '{test}.telemetry'
        events = '{test}.events'
        rejected = '{test}.rejected'
        "
    )
}

fn order(code: &str, site: &str) -> String {
    json!({ "codice_lotto": code, "cliente": "Bar Centrale", "quantita": 20, "location": site }).to_string()
}

/// Puts orders into the test's topic by the independent client.
fn send_orders(cluster: &Cluster, test: &str, orders: impl IntoIterator<Item = String>) {
    let orders: Vec<ToSend> = orders.into_iter().map(|value| ToSend { value, ..ToSend::default() }).collect();
    cluster.produce(&format!("{test}.orders"), &orders, &[]);
}

/// The lots of an event, as the independent client reads them, in order of their codes.
fn lots(cluster: &Cluster, test: &str, event: &str) -> Vec<String> {
    let events = cluster.consume(&format!("{test}.events"), &[]);
    let lot = |record: &Received| {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        (value["event_type"] == event).then(|| value["data"]["codice_lotto"].as_str().unwrap().to_owned())
    };
    let mut lots: Vec<String> = events.iter().filter_map(lot).collect();
    lots.sort();
    lots
}
