//! What the pages say.

use crate::client::{get, serve, snapshot, together};
use mokasim::bus::{Severity, Trouble};
use mokasim::clock;
use mokasim::factory::Counts;
use mokasim::health::snapshot::Snapshot;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn health_shows_every_field_in_wire_order() {
    let _shared = together();
    let before_ms = clock::wall_ms();
    let server = serve(snapshot());
    let reply = get(&server, "/health");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    assert!(reply.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{}", reply.head);

    let body = reply.json();
    let timestamp = body["timestamp"].as_str().unwrap();
    let parsed = time::OffsetDateTime::parse(timestamp, &time::format_description::well_known::Rfc3339).unwrap();
    let stamped_ms = (parsed.unix_timestamp_nanos() / 1_000_000) as i64;
    assert!((before_ms..=clock::wall_ms()).contains(&stamped_ms), "{timestamp}");
    let age_ms = body["last_tick_ms_ago"].as_u64().unwrap();
    assert!(age_ms < 5_000, "{age_ms}");
    let uptime = body["uptime_seconds"].as_f64().unwrap();
    assert!((24.5..29.5).contains(&uptime), "{uptime}");

    let expected = json!({
        "status": "healthy",
        "timestamp": timestamp,
        "uptime_seconds": uptime,
        "kafka_broker": "127.0.0.1:9092",
        "kafka_connected": true,
        "reason": null,
        "active_lots": 3,
        "queued_lots": 4,
        "completed_lots": 5,
        "rejected_orders": 10,
        "elsewhere_orders": 23,
        "machines": { "total": 26, "busy": 7, "blocked": 8 },
        "consumer_lag": 12,
        "outbox_records": 13,
        "intake_paused": true,
        "last_tick_ms_ago": age_ms,
        "seed": u64::MAX,
        "run_id": "0123abcd",
        "version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(body, expected);
    let position = |field| reply.body.find(field).unwrap();
    assert!(
        position("\"status\"") < position("\"timestamp\"") && position("\"timestamp\"") < position("\"uptime_seconds\"")
    );
}

#[test]
fn an_unknown_lag_is_null() {
    let _shared = together();
    let server = serve(Snapshot { consumer_lag: None, ..snapshot() });
    assert_eq!(get(&server, "/health").json().get("consumer_lag"), Some(&Value::Null));
    assert!(!get(&server, "/metrics").body.contains("consumer_lag"));
}

#[test]
fn state_follows_the_broker_and_the_ticks() {
    let _shared = together();
    let server = serve(snapshot());
    let state = |path| {
        let reply = get(&server, path);
        (reply.status, reply.json()["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(state("/health"), (200, "healthy".to_owned()));
    assert_eq!(state("/ready"), (200, "healthy".to_owned()));

    server.publish(clock::now(), Snapshot { connected: false, ..snapshot() });
    assert_eq!(state("/health"), (200, "degraded".to_owned()));
    assert_eq!(state("/ready"), (503, "degraded".to_owned()));
    assert_eq!(get(&server, "/health").json()["reason"], "127.0.0.1:9092 is away, 13 records wait");

    let long_ago = clock::now().checked_sub(Duration::from_millis(5_100)).unwrap();
    server.publish(long_ago, snapshot());
    assert_eq!(state("/health"), (503, "unhealthy".to_owned()));
    assert_eq!(state("/ready"), (503, "unhealthy".to_owned()));
    assert!(get(&server, "/health").json()["last_tick_ms_ago"].as_u64().unwrap() >= 5_100);

    server.publish(clock::now(), snapshot());
    assert_eq!(state("/health"), (200, "healthy".to_owned()));
}

#[test]
fn a_trouble_of_the_bus_is_told_with_its_reason() {
    let _shared = together();
    let server = serve(snapshot());
    let reason = "topic orders: MessageTooLarge (10): 3 records are lost";
    let cases = [
        (Severity::Degraded, true, "degraded", 200, 200, "1"),
        (Severity::Degraded, false, "degraded", 200, 503, "1"),
        (Severity::Unhealthy, true, "unhealthy", 503, 503, "2"),
        (Severity::Unhealthy, false, "unhealthy", 503, 503, "2"),
    ];
    for (severity, connected, status, health, ready, figure) in cases {
        let trouble = Some(Trouble { severity, reason: reason.into() });
        server.publish(clock::now(), Snapshot { connected, trouble, ..snapshot() });
        let page = get(&server, "/health");
        assert_eq!(page.status, health);
        let body = page.json();
        let away = if connected { "" } else { "127.0.0.1:9092 is away, 13 records wait: " };
        let reason = format!("{away}{reason}");
        assert_eq!((&body["status"], &body["reason"]), (&status.into(), &reason.as_str().into()));
        assert_eq!(body["kafka_connected"], connected);
        assert_eq!(get(&server, "/ready").status, ready, "{status}, connected {connected}");
        assert!(get(&server, "/metrics").body.contains(&format!("\nmokasim_health {figure}\n")));
        let said = mokasim::probe::probe(&format!("http://{}/health", server.addr())).unwrap_err();
        assert!(said.message.ends_with(&format!("/health: {status}: {reason}")), "{}", said.message);
    }
}

#[test]
fn the_latest_of_many_snapshots_is_shown() {
    let _shared = together();
    let server = serve(snapshot());
    for completed_lots in 0..1_000 {
        let factory = Counts { completed_lots, ..snapshot().factory };
        server.publish(clock::now(), Snapshot { factory, ..snapshot() });
    }
    assert_eq!(get(&server, "/health").json()["completed_lots"], 999);
}

#[test]
fn metrics_hold_every_figure() {
    let _shared = together();
    let server = serve(snapshot());
    let reply = get(&server, "/metrics");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = [
        ("simulated_time_seconds", "gauge", "1750865400.5"),
        ("speed", "gauge", "60"),
        ("connected", "gauge", "1"),
        ("intake_paused", "gauge", "1"),
        ("lots_active", "gauge", "3"),
        ("lots_queued", "gauge", "4"),
        ("lots_completed_total", "counter", "5"),
        ("machines", "gauge", "26"),
        ("machines_busy", "gauge", "7"),
        ("machines_blocked", "gauge", "8"),
        ("orders_accepted_total", "counter", "9"),
        ("orders_rejected_total", "counter", "10"),
        ("orders_skipped_total", "counter", "11"),
        ("orders_elsewhere_total", "counter", "23"),
        ("consumer_lag_orders", "gauge", "12"),
        ("outbox_records", "gauge", "13"),
        ("outbox_bytes", "gauge", "14"),
        ("records_acknowledged_total", "counter", "15"),
        ("records_dropped_total", "counter", "16"),
        ("records_refused_total", "counter", "24"),
        ("health", "gauge", "0"),
        ("bus_errors_total", "counter", "17"),
        ("api_records_sent_total", "counter", "18"),
        ("api_records_failed_total", "counter", "19"),
        ("api_records_dropped_total", "counter", "20"),
        ("api_records_queued", "gauge", "21"),
        ("ticks_total", "counter", "22"),
    ];
    for (name, kind, value) in samples {
        assert!(reply.body.contains(&format!("# TYPE mokasim_{name} {kind}\n")), "{name} in {}", reply.body);
        let prefix = format!("mokasim_{name} ");
        let shown = reply.body.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
        assert_eq!(shown.parse::<f64>(), value.parse::<f64>(), "{name}");
    }
    for line in [
        &format!(
            "mokasim_run_info{{version=\"{}\",run_id=\"0123abcd\",seed=\"{}\",broker=\"127.0.0.1:9092\"}} 1",
            env!("CARGO_PKG_VERSION"),
            u64::MAX
        ),
        "# TYPE mokasim_tick_lateness_seconds histogram",
        "mokasim_tick_lateness_seconds_bucket{le=\"0.001\"} 6",
        "mokasim_tick_lateness_seconds_bucket{le=\"0.01\"} 8",
        "mokasim_tick_lateness_seconds_bucket{le=\"+Inf\"} 9",
        "mokasim_tick_lateness_seconds_sum 1.5",
        "mokasim_tick_lateness_seconds_count 9",
    ] {
        assert!(reply.body.lines().any(|shown| shown == line), "{line} in {}", reply.body);
    }
    assert!(
        reply.body.contains("\nmokasim_uptime_seconds 24.") && reply.body.contains("\nmokasim_last_tick_age_seconds 0.")
    );
    assert!(!get(&serve(Snapshot { api: None, ..snapshot() }), "/metrics").body.contains("mokasim_api_"));
}
