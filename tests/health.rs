//! The HTTP thread, as its clients see it: pages, refusals, and what hostile clients cannot do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use mokasim::clock;
use mokasim::config::HealthCheck;
use mokasim::factory::Counts;
use mokasim::health::snapshot::{ApiCounts, Snapshot};
use mokasim::health::{self, Handle};
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread;
use std::time::Duration;

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Held by a test that measures the process, shared by those that do not mind.
static PROCESS: RwLock<()> = RwLock::new(());

fn together() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESS.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn config(port: u16, requests_per_second: u32) -> HealthCheck {
    HealthCheck { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), port, requests_per_second }
}

/// A server on a free port that never limits the rate.
fn serve(snapshot: Snapshot) -> Handle {
    health::start(&config(0, 1_000_000), clock::now(), snapshot).unwrap()
}

/// A snapshot in which every figure is another one.
fn snapshot() -> Snapshot {
    Snapshot {
        uptime_seconds: 24.5,
        kafka_broker: "127.0.0.1:9092".to_owned(),
        seed: u64::MAX,
        run_id: "0123abcd".to_owned(),
        speed: Some(60.0),
        simulated_ms: 1_750_865_400_500,
        connected: true,
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
        intake_paused: true,
        consumer_lag: Some(12),
        outbox_records: 13,
        outbox_bytes: 14,
        records_acknowledged: 15,
        records_dropped: 16,
        bus_errors: 17,
        api: Some(ApiCounts { sent: 18, failed: 19, dropped: 20, queued: 21 }),
        ticks: 22,
        tick_lateness: vec![(1_000, 6), (10_000, 8), (u64::MAX, 9)],
        tick_lateness_sum_us: 1_500_000,
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn connect(server: &Handle) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `request` as it is and reads to the end of the connection.
fn exchange(server: &Handle, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn reply(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    Reply { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), head: head.to_owned(), body: body.to_owned() }
}

fn ask(server: &Handle, method: &str, path: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    reply(&exchange(server, request.as_bytes()))
}

fn get(server: &Handle, path: &str) -> Reply {
    ask(server, "GET", path)
}

/// Tries until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !condition() {
        assert!(clock::now() < deadline, "never: {what}");
        clock::sleep(Duration::from_millis(20));
    }
}

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
        "active_lots": 3,
        "queued_lots": 4,
        "completed_lots": 5,
        "rejected_orders": 10,
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

    let long_ago = clock::now().checked_sub(Duration::from_millis(5_100)).unwrap();
    server.publish(long_ago, snapshot());
    assert_eq!(state("/health"), (503, "unhealthy".to_owned()));
    assert_eq!(state("/ready"), (503, "unhealthy".to_owned()));
    assert!(get(&server, "/health").json()["last_tick_ms_ago"].as_u64().unwrap() >= 5_100);

    server.publish(clock::now(), snapshot());
    assert_eq!(state("/health"), (200, "healthy".to_owned()));
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
        ("consumer_lag_orders", "gauge", "12"),
        ("outbox_records", "gauge", "13"),
        ("outbox_bytes", "gauge", "14"),
        ("records_acknowledged_total", "counter", "15"),
        ("records_dropped_total", "counter", "16"),
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

#[test]
fn other_pages_and_methods_are_refused_as_json() {
    let _shared = together();
    let server = serve(snapshot());
    let index = get(&server, "/");
    assert_eq!(index.json()["pages"], json!(["/", "/health", "/ready", "/metrics"]));
    for path in ["/nowhere", "/health/", "/HEALTH", "*"] {
        let reply = get(&server, path);
        assert_eq!((reply.status, reply.header("Content-Type")), (404, Some("application/json")), "{path}");
        assert!(reply.json()["error"].is_string());
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW", "get"] {
        let reply = ask(&server, method, "/health");
        assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(reply.json()["error"].is_string());
    }
    for target in ["/health?pretty", "http://localhost/health", "/health#top"] {
        assert_eq!(get(&server, target).status, 200, "{target}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let _shared = together();
    let server = serve(snapshot());
    for path in ["/", "/ready", "/nowhere"] {
        let (head, get) = (ask(&server, "HEAD", path), get(&server, path));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""));
        assert_eq!(head.header("Content-Length"), get.header("Content-Length"));
        assert_eq!(get.header("Content-Length"), Some(get.body.len().to_string().as_str()));
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let _shared = together();
    let server = serve(snapshot());
    for garbage in [
        "\u{16}\u{3}\u{1}TLS?\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/2.0\r\n\r\n",
    ] {
        let reply = reply(&exchange(&server, garbage.as_bytes()));
        assert_eq!((reply.status, reply.header("Connection")), (400, Some("close")), "{garbage:?}");
        assert!(reply.json()["error"].is_string());
    }
    let twice = "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    assert_eq!(reply(&exchange(&server, twice.as_bytes())).status, 400);
    let long = format!("GET /health HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(reply(&exchange(&server, long.as_bytes())).status, 431);
    let many = format!("GET /health HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(reply(&exchange(&server, many.as_bytes())).status, 431);
    let body = format!("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(200_000));
    assert_eq!(reply(&exchange(&server, body.as_bytes())).status, 405);
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn a_connection_serves_several_requests_in_order() {
    let _shared = together();
    let server = serve(snapshot());
    let request = |path, close| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n");
    let pipeline = request("/ready", "") + &request("/nowhere", "") + &request("/health", "Connection: close\r\n");
    let replies = exchange(&server, pipeline.as_bytes());
    let statuses: Vec<_> = replies.match_indices("HTTP/1.1 ").map(|(at, mark)| &replies[at + mark.len()..][..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"], "{replies}");

    let mut stream = connect(&server);
    for byte in request("/health", "Connection: close\r\n").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(reply(&text).status, 200, "a request may come in pieces");
}

#[test]
fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let _shared = together();
    let server = health::start(&config(0, 2), clock::now(), snapshot()).unwrap();
    let replies: Vec<_> = (0..20).map(|_| get(&server, "/health")).collect();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(replies[0].status == 200 && refused.len() > 10, "{} of 20 refused", refused.len());
    assert_eq!(refused[0].header("Retry-After"), Some("1"));
    assert!(refused[0].json()["error"].is_string());
    eventually("it is served again", || get(&server, "/health").status == 200);
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let _shared = together();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let error = health::start(&config(port, 20), clock::now(), snapshot()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("HEALTH_CHECK_PORT"), "{text}");
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
}

#[test]
fn dropping_the_handle_frees_the_port_and_ends_connections() {
    let _shared = together();
    let server = serve(snapshot());
    let addr = server.addr();
    let mut idle = connect(&server);
    assert_eq!(get(&server, "/health").status, 200);
    drop(server);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "an open connection ends with the server");
    assert_eq!(health::start(&config(addr.port(), 20), clock::now(), snapshot()).unwrap().addr(), addr);
}

/// A line of `/proc/self/status`, as a number.
fn process(figure: &str) -> u64 {
    number(&fs::read_to_string("/proc/self/status").unwrap(), figure)
}

fn number(status: &str, figure: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What `/proc` says in `file` about the thread of the one server that runs.
fn server_thread(file: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |task: &std::path::PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "health\n");
    let found: Vec<_> = tasks.filter(named).collect();
    assert_eq!(found.len(), 1, "servers running");
    fs::read_to_string(found[0].join(file)).unwrap()
}

/// Sets how many descriptors this process may open. It needs no privilege below the hard limit.
fn limit_descriptors(count: usize) {
    let limit = format!("--nofile={count}:");
    let status = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "prlimit cannot set {count} descriptors; `ulimit -Hn` says the most"
    );
}

#[test]
fn ticks_do_not_wake_the_thread() {
    let _exclusive = alone();
    let server = serve(snapshot());
    assert_eq!(get(&server, "/health").status, 200);
    let sleeps = || number(&server_thread("status"), "voluntary_ctxt_switches");
    // The connection that was just closed may still be on its way out.
    let mut before = sleeps();
    eventually("the thread comes to rest", || {
        clock::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, sleeps()) == before
    });
    for _ in 0..1_000 {
        server.publish(clock::now(), snapshot());
    }
    assert_eq!(sleeps(), before);
}

#[test]
fn hostile_clients_cost_nothing_and_delay_nobody() {
    const CLIENTS: usize = 1_000;
    const SLOW: usize = 300;
    let _exclusive = alone();
    limit_descriptors(CLIENTS + 200);
    let server = serve(snapshot());
    assert_eq!(get(&server, "/metrics").status, 200);
    let (threads, kib, open) = (process("Threads"), process("VmRSS"), descriptors());

    let mut idle: Vec<_> = (SLOW..CLIENTS).map(|_| connect(&server)).collect();
    let slow: Vec<_> = (0..SLOW).map(|_| connect(&server)).collect();
    let mut latencies = Vec::new();
    thread::scope(|scope| {
        let addr = server.addr();
        let (running, stopped) = mpsc::channel::<()>();
        scope.spawn(move || trickle(slow, addr, &stopped));
        for _ in 0..50 {
            server.publish(clock::now(), snapshot());
            let asked = clock::now();
            let reply = get(&server, "/health");
            latencies.push(clock::now() - asked);
            assert_eq!(reply.status, 200);
            clock::sleep(Duration::from_millis(60));
        }
        let (threads_now, kib_now, open_now) = (process("Threads"), process("VmRSS"), descriptors());
        drop(running);
        assert!(threads_now <= threads + 1, "{threads} threads before, {threads_now} with the test's own one");
        assert!(kib_now < kib + 4 * 1024, "resident: {kib} KiB before, {kib_now} KiB after");
        assert!(
            open_now <= open + CLIENTS + 64,
            "descriptors: {open} before, {open_now} with {CLIENTS} clients of the test"
        );
    });
    latencies.sort();
    println!("latency of /health: median {:?}, worst {:?}", latencies[25], latencies[49]);
    assert!(latencies[49] < Duration::from_millis(100), "{latencies:?}");

    idle.retain_mut(|client| client.read(&mut [0]).is_ok_and(|len| len > 0));
    assert!(idle.is_empty(), "idle connections are closed in the end");
}

/// Sends one byte a second on each of `clients`, and connects again where the server has hung up.
fn trickle(mut clients: Vec<TcpStream>, addr: SocketAddr, stopped: &mpsc::Receiver<()>) {
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Padding: so that it never comes to an end\r\n";
    for byte in request.iter().cycle() {
        for client in &mut clients {
            if client.write_all(&[*byte]).is_err()
                && let Ok(again) = TcpStream::connect(addr)
            {
                *client = again;
            }
        }
        if stopped.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

#[test]
fn without_descriptors_it_rests_and_recovers() {
    let _exclusive = alone();
    let server = serve(snapshot());
    assert_eq!(get(&server, "/health").status, 200);
    limit_descriptors(512);

    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut held = Vec::new();
    // The client's own descriptor is taken before the last ones go.
    let mut client = {
        let place = fs::File::open("/dev/null").unwrap();
        exhaust(&mut held);
        drop(place);
        connect(&server)
    };
    client.write_all(request).unwrap();
    // Reading /proc takes a descriptor, so the look is taken afterwards: a spinning thread would have burnt the second.
    clock::sleep(Duration::from_secs(1));
    held.clear();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(reply(&text).status, 200, "it serves as soon as it can");
    let stat = server_thread("stat");
    let fields: Vec<_> = stat.split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    assert!(ticks < 20, "{ticks} hundredths of a second of CPU");

    // An idle connection is given up for a client that waits.
    let mut idle = connect(&server);
    idle.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    let place = fs::File::open("/dev/null").unwrap();
    exhaust(&mut held);
    drop(place);
    assert_eq!(get(&server, "/health").status, 200);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
}

/// Takes every descriptor that is left.
fn exhaust(held: &mut Vec<fs::File>) {
    while let Ok(file) = fs::File::open("/dev/null") {
        held.push(file);
    }
}
