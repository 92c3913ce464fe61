//! A server to ask, and what a client does.

use mokasim::clock;
use mokasim::config::HealthCheck;
use mokasim::factory::Counts;
use mokasim::health::snapshot::{ApiCounts, Snapshot};
use mokasim::health::{self, Handle};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Held by a test that measures the process, shared by those that do not mind.
pub(crate) static PROCESS: RwLock<()> = RwLock::new(());

pub(crate) fn together() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESS.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(crate) fn config(port: u16, requests_per_second: u32) -> HealthCheck {
    HealthCheck { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), port, requests_per_second }
}

/// A server on a free port that never limits the rate.
pub(crate) fn serve(snapshot: Snapshot) -> Handle {
    health::start(&config(0, 1_000_000), clock::now(), snapshot).unwrap()
}

/// A snapshot in which every figure is another one.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        uptime_seconds: 24.5,
        kafka_broker: "127.0.0.1:9092".to_owned(),
        seed: u64::MAX,
        run_id: "0123abcd".to_owned(),
        speed: Some(60.0),
        simulated_ms: 1_750_865_400_500,
        connected: true,
        trouble: None,
        factory: Counts {
            active_lots: 3,
            queued_lots: 4,
            completed_lots: 5,
            machines_total: 26,
            machines_busy: 7,
            machines_blocked: 8,
        },
        orders_accepted: 9,
        orders_rejected: 10,
        orders_skipped: 11,
        orders_elsewhere: 23,
        intake_paused: true,
        consumer_lag: Some(12),
        outbox_records: 13,
        outbox_bytes: 14,
        records_acknowledged: 15,
        records_dropped: 16,
        records_refused: 24,
        bus_errors: 17,
        api: Some(ApiCounts { sent: 18, failed: 19, dropped: 20, queued: 21 }),
        ticks: 22,
        tick_lateness: vec![(1_000, 6), (10_000, 8), (u64::MAX, 9)],
        tick_lateness_sum_us: 1_500_000,
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub(crate) fn connect(server: &Handle) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `request` as it is and reads to the end of the connection.
pub(crate) fn exchange(server: &Handle, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

pub(crate) fn reply(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    Reply { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn ask(server: &Handle, method: &str, path: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    reply(&exchange(server, request.as_bytes()))
}

pub(crate) fn get(server: &Handle, path: &str) -> Reply {
    ask(server, "GET", path)
}

/// Tries until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !condition() {
        assert!(clock::now() < deadline, "never: {what}");
        clock::sleep(Duration::from_millis(20));
    }
}
