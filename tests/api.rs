//! The external API's client against an API that fails, stalls, recovers and lies.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use mokasim::api::{ApiSender, Limits};
use mokasim::clock;
use mokasim::config::{self, Overrides, Source};
use mokasim::health::snapshot::ApiCounts;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

const KEY: &str = "s3cr3t-k3y-of-the-test";

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the API does with a request.
#[derive(Clone, Debug)]
enum Act {
    Answer(u16),
    /// Answers 200 with a body that never ends.
    Babble,
    /// Hangs up without a word.
    HangUp,
    /// Says nothing until it is told to answer.
    Stall,
    /// Sends the client elsewhere.
    Redirect(String),
}

#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// One for each request to come, then `otherwise`.
    script: VecDeque<Act>,
    otherwise: Option<Act>,
}

/// An HTTP server that follows a script and notes what it is asked. Without a script it answers 200.
#[derive(Clone)]
struct Server {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    fn start(script: impl IntoIterator<Item = Act>, otherwise: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = script.into_iter().collect();
        let state = State { requests: Vec::new(), script, otherwise: Some(otherwise) };
        let server = Self { port, state: Arc::new((Mutex::new(state), Condvar::new())) };
        let accepting = server.clone();
        // The thread ends with the process: nothing tells a listener of std to stop.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = accepting.clone();
                thread::spawn(move || server.serve(&stream.unwrap()));
            }
        });
        server
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let (lock, changed) = &*self.state;
            let mut state = lock.lock().unwrap();
            state.requests.push(request);
            let act = state.script.pop_front().or_else(|| state.otherwise.clone()).unwrap();
            changed.notify_all();
            let mut out = stream;
            let answer = match act {
                Act::Answer(status) => format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok"),
                Act::Redirect(to) => format!("HTTP/1.1 307 Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
                Act::HangUp => return,
                Act::Babble => {
                    drop(state);
                    let _ = out.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    while out.write_all(&[b'x'; 4096]).is_ok() {}
                    return;
                }
                Act::Stall => {
                    let stalls = |state: &mut State| matches!(state.otherwise, Some(Act::Stall));
                    drop(changed.wait_while(state, stalls).unwrap());
                    return;
                }
            };
            drop(state);
            if out.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// From now on.
    fn become_well(&self) {
        self.state.0.lock().unwrap().otherwise = Some(Act::Answer(200));
        self.state.1.notify_all();
    }

    fn requests(&self) -> Vec<Request> {
        self.state.0.lock().unwrap().requests.clone()
    }

    fn bodies(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.body).collect()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn sender(&self, limits: &Limits) -> ApiSender {
        start(&self.url(), KEY, limits).unwrap()
    }
}

/// `None` when the client has hung up.
fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(1..) if line.trim_end().is_empty() => break,
            Ok(1..) => lines.push(line.trim_end().to_owned()),
            Ok(0) | Err(_) => return None,
        }
    }
    let split = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut request =
        Request { line: lines.remove(0), headers: lines.iter().filter_map(split).collect(), body: String::new() };
    let len: usize = request.header("Content-Length")?.parse().unwrap();
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

fn start(endpoint_url: &str, api_key: &str, limits: &Limits) -> io::Result<ApiSender> {
    let text = format!("[api]\nendpoint_url = {endpoint_url:?}\napi_key = {api_key:?}");
    let source = Source { name: "config.toml".into(), text };
    let config = config::load(Some(&source), &|_| None, &Overrides::default()).unwrap();
    ApiSender::start(config.api.endpoint.unwrap(), config.api.key, limits)
}

/// The shipped limits with pauses that a test can wait for.
fn limits() -> Limits {
    let (pause_min, pause_max) = (Duration::from_millis(5), Duration::from_millis(50));
    Limits { pause_min, pause_max, ..Limits::default() }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !condition() {
        assert!(clock::now() < deadline, "never: {what}");
        clock::sleep(Duration::from_millis(5));
    }
}

fn settled(sender: &ApiSender) -> ApiCounts {
    eventually("nothing waits any more", || sender.counts().queued == 0);
    sender.counts()
}

#[test]
fn every_record_is_posted_in_order_with_its_key() {
    let server = Server::start([], Act::Answer(200));
    for endpoint in ["", "/", "/base", "/base//"] {
        let before = server.requests().len();
        let mut sender = start(&(server.url() + endpoint), KEY, &limits()).unwrap();
        let records: Vec<_> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
        for record in &records {
            sender.send(record.as_bytes());
        }
        assert_eq!(settled(&sender), ApiCounts { sent: 20, ..ApiCounts::default() });
        assert_eq!(server.bodies()[before..], records);
        for request in &server.requests()[before..] {
            let path = endpoint.trim_end_matches('/').to_owned() + "/api/telemetry";
            assert_eq!(request.line, format!("POST {path} HTTP/1.1"));
            assert_eq!(request.header("X-API-Key"), Some(KEY));
            assert_eq!(request.header("Content-Type"), Some("application/json"));
        }
    }
}

#[test]
fn without_a_key_none_is_sent() {
    let server = Server::start([], Act::Answer(200));
    let mut sender = start(&server.url(), "", &limits()).unwrap();
    sender.send(b"{}");
    assert_eq!(settled(&sender).sent, 1);
    assert_eq!(server.requests()[0].header("X-API-Key"), None);
}

#[test]
fn what_may_pass_is_tried_again() {
    for failure in [
        Act::Answer(500),
        Act::Answer(503),
        Act::Answer(429),
        Act::Answer(401),
        Act::Answer(404),
        Act::Answer(304),
        Act::HangUp,
    ] {
        let server = Server::start(vec![failure.clone(); 3], Act::Answer(200));
        let mut sender = server.sender(&limits());
        sender.send(b"{\"n\":1}");
        assert_eq!(settled(&sender), ApiCounts { sent: 1, ..ApiCounts::default() }, "{failure:?}");
        assert_eq!(server.bodies(), ["{\"n\":1}"; 4], "{failure:?}");
    }
}

#[test]
fn a_record_is_given_up_after_its_tries_and_the_next_has_its_own() {
    let server = Server::start(vec![Act::Answer(500); 4], Act::Answer(200));
    let mut sender = server.sender(&limits());
    sender.send(b"{\"n\":1}");
    sender.send(b"{\"n\":2}");
    assert_eq!(settled(&sender), ApiCounts { sent: 1, failed: 1, ..ApiCounts::default() });
    assert_eq!(server.bodies(), ["{\"n\":1}", "{\"n\":1}", "{\"n\":1}", "{\"n\":1}", "{\"n\":2}"]);
}

#[test]
fn what_is_refused_is_not_tried_again() {
    for status in [400, 413, 422] {
        let server = Server::start([Act::Answer(status)], Act::Answer(200));
        let mut sender = server.sender(&limits());
        sender.send(b"{\"n\":1}");
        sender.send(b"{\"n\":2}");
        assert_eq!(settled(&sender), ApiCounts { sent: 1, failed: 1, ..ApiCounts::default() }, "{status}");
        assert_eq!(server.bodies(), ["{\"n\":1}", "{\"n\":2}"], "{status}");
    }
}

#[test]
fn a_redirect_does_not_carry_the_key_away() {
    let elsewhere = Server::start([], Act::Answer(200));
    let server = Server::start([Act::Redirect(elsewhere.url() + "/api/telemetry")], Act::Answer(200));
    let mut sender = server.sender(&limits());
    sender.send(b"{}");
    assert_eq!(settled(&sender), ApiCounts { sent: 1, ..ApiCounts::default() });
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn an_endless_answer_is_cut_off() {
    let server = Server::start([Act::Babble], Act::Answer(200));
    let mut sender = server.sender(&limits());
    sender.send(b"{\"n\":1}");
    sender.send(b"{\"n\":2}");
    assert_eq!(settled(&sender).sent, 2);
}

#[test]
fn a_stalled_api_costs_bounded_memory_and_the_oldest_records() {
    const RECORDS: usize = 50_000;
    let server = Server::start([], Act::Stall);
    let mut sender = server.sender(&limits());
    sender.send(b"first");
    eventually("the first record is at the API", || server.requests().len() == 1);
    // Without a bound these would be 100 MB. None of them waits: the API answers nothing until the last is queued.
    let before_kib = resident_kib();
    for n in 0..RECORDS {
        sender.send(format!("{n:02000}").as_bytes());
    }
    let grown_kib = resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 16 * 1024, "{grown_kib} KiB for 1,000 records of 2 kB");
    let counts = sender.counts();
    assert_eq!(counts, ApiCounts { dropped: RECORDS as u64 - 1_000, queued: 1_001, ..ApiCounts::default() });

    server.become_well();
    let counts = settled(&sender);
    assert_eq!(counts.sent, 1_001, "{counts:?}");
    let bodies = server.bodies();
    let newest = (RECORDS - 1_000..RECORDS).map(|n| format!("{n:02000}"));
    assert!(bodies[bodies.len() - 1_000..].iter().eq(newest.collect::<Vec<_>>().iter()), "the newest were kept, in order");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_stall_is_a_failure_that_may_pass() {
    let server = Server::start([Act::Stall], Act::Stall);
    let mut sender = server.sender(&Limits { request_timeout: Duration::from_millis(100), ..limits() });
    sender.send(b"{}");
    eventually("it is tried again", || server.requests().len() >= 2);
    server.become_well();
    let counts = settled(&sender);
    assert_eq!(counts.sent + counts.failed, 1);
    sender.send(b"{}");
    assert_eq!(settled(&sender).sent, counts.sent + 1);
}

#[test]
fn closing_sends_what_waits() {
    let server = Server::start([Act::Answer(500)], Act::Answer(200));
    let mut sender = server.sender(&limits());
    for _ in 0..100 {
        sender.send(b"{}");
    }
    assert_eq!(sender.close(PATIENCE), ApiCounts { sent: 100, ..ApiCounts::default() });
}

#[test]
fn closing_does_not_wait_for_a_stalled_request() {
    let server = Server::start([], Act::Stall);
    let mut sender = server.sender(&Limits { request_timeout: PATIENCE * 2, ..limits() });
    for _ in 0..3 {
        sender.send(b"{}");
    }
    eventually("a request is on its way", || server.requests().len() == 1);
    let asked = clock::now();
    assert_eq!(sender.close(Duration::from_millis(100)), ApiCounts { queued: 3, ..ApiCounts::default() });
    assert!(clock::now() - asked < PATIENCE, "it waited for the request");
}

#[test]
fn an_api_that_cannot_be_talked_to_is_a_failure_and_no_more() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let no_tls = Server::start([], Act::HangUp);
    for endpoint in [format!("http://{nobody}"), format!("https://127.0.0.1:{}", no_tls.port)] {
        let mut sender = start(&endpoint, KEY, &limits()).unwrap();
        sender.send(b"{}");
        assert_eq!(settled(&sender), ApiCounts { failed: 1, ..ApiCounts::default() }, "{endpoint}");
    }
}

/// Keeps every line that anything in the process logs.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{} {} {}", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}

fn logged() -> Vec<String> {
    LINES.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[test]
fn the_log_says_once_that_it_fails_and_once_that_it_recovers_and_never_the_key() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LINES).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    let server = Server::start(vec![Act::Answer(503); 12], Act::Answer(200));
    let mut sender = server.sender(&limits());
    for _ in 0..10 {
        sender.send(b"{}");
    }
    let counts = settled(&sender);
    assert_eq!((counts.failed, counts.sent), (3, 7));
    let ours = || {
        let url = server.url();
        logged().into_iter().filter(|line| line.contains(" mokasim::api ") && line.contains(&url)).collect::<Vec<_>>()
    };
    eventually("the recovery is logged", || ours().len() >= 2);
    let ours = ours();
    assert!(
        ours.len() == 2 && ours[0].starts_with("WARN ") && ours[0].contains("503") && ours[1].starts_with("INFO "),
        "{ours:?}"
    );
    let all = logged();
    assert!(all.iter().any(|line| line.contains(" ureq")), "the library's own lines were looked at too");
    assert!(!all.iter().any(|line| line.contains(KEY)));
}
