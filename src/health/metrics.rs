//! `/metrics`: every figure of the snapshot in Prometheus text format 0.0.4.

use super::http::{Response, Status};
use super::pages::{Health, View};
use super::snapshot::{ApiCounts, Snapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// A figure to be shown.
enum Figure {
    Counter(u64),
    Gauge(u64),
    Real(f64),
}

use Figure::{Counter, Gauge, Real};

/// Name, help text, and where to read it; `None` while there is nothing to say.
type Row = (&'static str, &'static str, fn(&Figures) -> Option<Figure>);

/// `mokasim_` is put before every name and `_total` behind a counter's.
const ROWS: [Row; 29] = [
    ("uptime_seconds", "Time since the program started", |f| Some(Real(f.uptime_seconds))),
    ("simulated_time_seconds", "Simulated instant, since 1970", |f| Some(Real(f.snapshot.simulated_ms as f64 / 1000.0))),
    ("speed", "Simulated seconds a second; absent at full speed", |f| f.snapshot.speed.map(Real)),
    ("connected", "Whether records leave and orders arrive", |f| Some(Gauge(f.snapshot.connected.into()))),
    ("health", "0 healthy, 1 degraded, 2 unhealthy; /health says why", |f| Some(Gauge(f.health as u64))),
    ("intake_paused", "Whether order intake waits for room", |f| Some(Gauge(f.snapshot.intake_paused.into()))),
    ("lots_active", "Lots on a machine", |f| Some(Gauge(f.snapshot.factory.active_lots.into()))),
    ("lots_queued", "Lots waiting for a machine", |f| Some(Gauge(f.snapshot.factory.queued_lots.into()))),
    ("lots_completed", "Lots completed", |f| Some(Counter(f.snapshot.factory.completed_lots))),
    ("machines", "Machines of all sites", |f| Some(Gauge(f.snapshot.factory.machines_total.into()))),
    ("machines_busy", "Machines with a lot, blocked ones too", |f| Some(Gauge(f.snapshot.factory.machines_busy.into()))),
    ("machines_blocked", "Machines blocked", |f| Some(Gauge(f.snapshot.factory.machines_blocked.into()))),
    ("orders_accepted", "Orders accepted", |f| Some(Counter(f.snapshot.orders_accepted))),
    ("orders_rejected", "Orders rejected", |f| Some(Counter(f.snapshot.orders_rejected))),
    ("orders_skipped", "Orders delivered again and skipped", |f| Some(Counter(f.snapshot.orders_skipped))),
    ("orders_elsewhere", "Orders left to the instances that play their plants", |f| {
        Some(Counter(f.snapshot.orders_elsewhere))
    }),
    ("consumer_lag_orders", "Orders not yet read; absent while unknown", |f| f.snapshot.consumer_lag.map(Gauge)),
    ("outbox_records", "Records not yet acknowledged", |f| Some(Gauge(f.snapshot.outbox_records))),
    ("outbox_bytes", "Memory of records not yet acknowledged", |f| Some(Gauge(f.snapshot.outbox_bytes))),
    ("records_acknowledged", "Records acknowledged", |f| Some(Counter(f.snapshot.records_acknowledged))),
    ("records_dropped", "Telemetry dropped for lack of room", |f| Some(Counter(f.snapshot.records_dropped))),
    ("records_refused", "Records the broker will never take: lost", |f| Some(Counter(f.snapshot.records_refused))),
    ("bus_errors", "Failures of the bus", |f| Some(Counter(f.snapshot.bus_errors))),
    ("api_records_sent", "Records the external API took", |f| f.api(|api| api.sent).map(Counter)),
    ("api_records_failed", "Records given up after every retry", |f| f.api(|api| api.failed).map(Counter)),
    ("api_records_dropped", "Records dropped from the full API queue", |f| f.api(|api| api.dropped).map(Counter)),
    ("api_records_queued", "Records waiting for the external API", |f| f.api(|api| api.queued).map(Gauge)),
    ("ticks", "Turns of the main loop", |f| Some(Counter(f.snapshot.ticks))),
    ("last_tick_age_seconds", "Time since the last tick", |f| Some(Real(f.tick_age_seconds))),
];

/// A [`View`] that the registry can own.
#[derive(Debug)]
struct Figures {
    snapshot: Snapshot,
    health: Health,
    uptime_seconds: f64,
    tick_age_seconds: f64,
}

impl Figures {
    fn api(&self, count: fn(&ApiCounts) -> u64) -> Option<u64> {
        self.snapshot.api.as_ref().map(count)
    }

    /// The lateness of ticks. The encoder wants a count for each bucket, where the snapshot's are cumulative.
    fn encode_lateness(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(self.snapshot.tick_lateness.len());
        for &(bound_us, cumulative) in &self.snapshot.tick_lateness {
            let bound_seconds = if bound_us == u64::MAX { f64::INFINITY } else { bound_us as f64 / 1e6 };
            buckets.push((bound_seconds, cumulative.saturating_sub(below)));
            below = cumulative;
        }
        let sum_seconds = self.snapshot.tick_lateness_sum_us as f64 / 1e6;
        let help = "How late ticks began";
        let mut metric = encoder.encode_descriptor("tick_lateness_seconds", help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum_seconds, below, &buckets, None)
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The seed is a label because a sample is a floating-point number, which cannot tell all seeds apart.
        let seed = self.snapshot.seed.to_string();
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("run_id", &self.snapshot.run_id),
            ("seed", &seed),
            ("broker", &self.snapshot.kafka_broker),
        ];
        encoder.encode_descriptor("run", "This run", None, MetricType::Info)?.encode_info(&labels)?;
        for (name, help, read) in &ROWS {
            let Some(figure) = read(self) else { continue };
            let kind = if matches!(figure, Counter(_)) { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            match figure {
                Counter(value) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                Gauge(value) => metric.encode_gauge(&value)?,
                Real(value) => metric.encode_gauge(&value)?,
            }
        }
        self.encode_lateness(&mut encoder)
    }
}

/// The page.
pub(super) fn page(view: &View<'_>) -> Response {
    let mut registry = Registry::with_prefix("mokasim");
    registry.register_collector(Box::new(Figures {
        snapshot: view.snapshot.clone(),
        health: view.health(),
        uptime_seconds: view.uptime_seconds(),
        tick_age_seconds: view.tick_age.as_secs_f64(),
    }));
    let mut text = String::new();
    match prometheus_text::encode(&mut text, &registry) {
        Ok(()) => Response {
            status: Status::OK,
            content_type: prometheus_text::CONTENT_TYPE,
            header: None,
            body: text.into_bytes(),
        },
        Err(fmt::Error) => Response::error(Status::SERVICE_UNAVAILABLE, "the metrics could not be written"),
    }
}
