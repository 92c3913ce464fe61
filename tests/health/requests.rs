//! Which requests are answered, which are refused, and how.

use crate::client::{ask, config, connect, eventually, exchange, get, reply, serve, snapshot, together};
use mokasim::clock;
use mokasim::error::Exit;
use mokasim::{health, probe};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

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
fn a_probe_that_is_refused_because_others_ask_too_often_asks_again() {
    let _shared = together();
    let server = health::start(&config(0, 2), clock::now(), snapshot()).unwrap();
    while get(&server, "/health").status != 429 {}
    let url = format!("http://{}/health", server.addr());
    let answer = probe::probe(&url).unwrap_or_else(|failure| failure.message);
    assert!(answer.starts_with(&url) && !answer.contains("429") && !answer.contains("no health page"), "{answer}");

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", busy.local_addr().unwrap());
    let asked = std::thread::spawn(move || probe::probe(&url));
    let mut refused = 0;
    busy.set_nonblocking(true).unwrap();
    eventually("the probe gives up", || {
        if let Ok((mut stream, _)) = busy.accept() {
            refused += 1;
            stream.set_nonblocking(false).unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let answer =
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked.is_finished()
    });
    let failure = asked.join().unwrap().unwrap_err();
    assert!(failure.exit == Exit::Unhealthy && failure.message.contains("asked too often") && refused > 1, "{failure}");
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let _shared = together();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let error = health::start(&config(port, 20), clock::now(), snapshot()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("HEALTH_CHECK_PORT"), "{text}");
    assert!(matches!(error, health::StartError::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse));
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
