//! What is served where.

use super::http::{Request, Response, Status};
use super::metrics;
use super::snapshot::Snapshot;
use crate::bus::Severity;
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// The main loop counts as dead once it has not ticked for so long.
const TICK_AGE_MAX: Duration = Duration::from_secs(5);

/// What a page is made from.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// The latest snapshot.
    pub(super) snapshot: &'a Snapshot,
    /// How old it is.
    pub(super) tick_age: Duration,
    /// Wall-clock now, UTC.
    pub(super) now: OffsetDateTime,
}

/// Path and page.
type Page = (&'static str, fn(&View<'_>) -> Response);

const PAGES: [Page; 4] = [("/", index), ("/health", health), ("/ready", ready), ("/metrics", metrics::page)];

/// Answers a request.
pub(super) fn answer(request: &Request, view: &View<'_>) -> Response {
    let Some((_, page)) = PAGES.iter().find(|(path, _)| *path == request.path) else {
        return Response::error(Status::NOT_FOUND, "no such page; / lists what there is");
    };
    match request.method.as_str() {
        "GET" | "HEAD" => page(view),
        _ => Response::error(Status::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed")
            .with("Allow", "GET, HEAD".to_owned()),
    }
}

/// How the simulator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    Healthy,
    /// The broker is away or takes less than all; it simulates and buffers.
    Degraded,
    /// The main loop has stopped, or the bus does not do its work and will not without a person.
    Unhealthy,
}

impl View<'_> {
    fn is_hanging(&self) -> bool {
        self.tick_age > TICK_AGE_MAX
    }

    /// How it is.
    pub(super) fn health(&self) -> Health {
        match self.snapshot.trouble.as_ref().map(|trouble| trouble.severity) {
            _ if self.is_hanging() => Health::Unhealthy,
            Some(Severity::Unhealthy) => Health::Unhealthy,
            Some(Severity::Degraded) => Health::Degraded,
            None if self.snapshot.connected => Health::Healthy,
            None => Health::Degraded,
        }
    }

    /// Why it is not healthy.
    fn reason(&self) -> Option<Cow<'_, str>> {
        let Snapshot { kafka_broker, outbox_records, trouble, connected, .. } = self.snapshot;
        match trouble {
            _ if self.is_hanging() => Some(format!("no tick for {} ms", self.tick_age.as_millis()).into()),
            Some(trouble) if *connected => Some((*trouble.reason).into()),
            None if *connected => None,
            trouble => {
                let why = trouble.as_ref().map(|trouble| format!(": {}", trouble.reason)).unwrap_or_default();
                Some(format!("{kafka_broker} is away, {outbox_records} records wait{why}").into())
            }
        }
    }

    /// Seconds since the program started, a stopped main loop included, to the microsecond.
    pub(super) fn uptime_seconds(&self) -> f64 {
        ((self.snapshot.uptime_seconds + self.tick_age.as_secs_f64()) * 1e6).round() / 1e6
    }
}

/// The body of `/health`, fields in wire order.
#[derive(Serialize)]
struct HealthBody<'a> {
    status: Health,
    timestamp: String,
    uptime_seconds: f64,
    kafka_broker: &'a str,
    kafka_connected: bool,
    reason: Option<Cow<'a, str>>,
    active_lots: u32,
    queued_lots: u32,
    completed_lots: u64,
    rejected_orders: u64,
    elsewhere_orders: u64,
    machines: Machines,
    consumer_lag: Option<u64>,
    outbox_records: u64,
    intake_paused: bool,
    last_tick_ms_ago: u64,
    seed: u64,
    run_id: &'a str,
    version: &'static str,
}

#[derive(Serialize)]
struct Machines {
    total: u32,
    busy: u32,
    blocked: u32,
}

fn health(view: &View<'_>) -> Response {
    let (snapshot, factory) = (view.snapshot, view.snapshot.factory);
    let health = view.health();
    let status = if health == Health::Unhealthy { Status::SERVICE_UNAVAILABLE } else { Status::OK };
    let rfc3339 = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let body = HealthBody {
        status: health,
        timestamp: view.now.format(rfc3339).unwrap_or_default(),
        uptime_seconds: view.uptime_seconds(),
        kafka_broker: &snapshot.kafka_broker,
        kafka_connected: snapshot.connected,
        reason: view.reason(),
        active_lots: factory.active_lots,
        queued_lots: factory.queued_lots,
        completed_lots: factory.completed_lots,
        rejected_orders: snapshot.orders_rejected,
        elsewhere_orders: snapshot.orders_elsewhere,
        machines: Machines { total: factory.machines_total, busy: factory.machines_busy, blocked: factory.machines_blocked },
        consumer_lag: snapshot.consumer_lag,
        outbox_records: snapshot.outbox_records,
        intake_paused: snapshot.intake_paused,
        last_tick_ms_ago: view.tick_age.as_millis() as u64,
        seed: snapshot.seed,
        run_id: &snapshot.run_id,
        version: env!("CARGO_PKG_VERSION"),
    };
    Response::json(status, &body)
}

fn ready(view: &View<'_>) -> Response {
    let health = view.health();
    let ready = view.snapshot.connected && health != Health::Unhealthy;
    let status = if ready { Status::OK } else { Status::SERVICE_UNAVAILABLE };
    Response::json(status, &serde_json::json!({ "ready": ready, "status": health }))
}

fn index(_: &View<'_>) -> Response {
    let pages = PAGES.map(|(path, _)| path);
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    Response::json(Status::OK, &serde_json::json!({ "name": name, "version": version, "pages": pages }))
}
