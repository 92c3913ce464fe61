//! What hostile clients and a lack of descriptors cannot do; what idleness costs.

use crate::client::{PATIENCE, alone, connect, eventually, get, reply, serve, snapshot};
use mokasim::clock;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
    let (kib, open) = (process("VmRSS"), descriptors());

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
        let (kib_now, open_now) = (process("VmRSS"), descriptors());
        drop(running);
        // It asserts that there is one: a thread that the server's starts has its name. Other threads come and go with other tests.
        server_thread("comm");
        assert!(kib_now < kib + 4 * 1024, "resident: {kib} KiB before, {kib_now} KiB after");
        // The server takes a connection before it puts out another, and a client that comes again connects before it hangs up.
        assert!(
            open_now <= open + CLIENTS + 64 + 2,
            "descriptors: {open} before, {open_now} with {CLIENTS} clients of the test"
        );
    });
    latencies.sort();
    println!("latency of /health: median {:?}, worst {:?}", latencies[25], latencies[49]);
    // The two worst may be the scheduler's: all cores may be busy with other tests.
    assert!(latencies[47] < Duration::from_millis(100), "{latencies:?}");

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
    limit_descriptors(512);
    let held = all_descriptors_but(1);
    let mut client = connect(&server);
    client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    // Reading /proc takes a descriptor, so the look is taken afterwards: a spinning thread would have burnt the second.
    clock::sleep(Duration::from_secs(1));
    drop(held);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(reply(&text).status, 200, "it serves as soon as it can");
    let stat = server_thread("stat");
    let fields: Vec<_> = stat.split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    assert!(ticks < 20, "{ticks} hundredths of a second of CPU");
}

#[test]
fn one_descriptor_is_enough() {
    let _exclusive = alone();
    let server = serve(snapshot());
    limit_descriptors(512);
    let held = all_descriptors_but(2);
    let mut idle = connect(&server);
    idle.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0, "the last descriptor serves a client, and is not taken from it again");
    drop(held);
    // The clients' own descriptors are taken before the server could have them.
    let sockets: Vec<_> = (0..3).map(|_| socket()).collect();
    let held = all_descriptors_but(0);
    let mut waiting = Vec::new();
    for socket in sockets {
        socket.connect(&server.addr().into()).unwrap();
        let mut client = TcpStream::from(socket);
        client.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        waiting.push(client);
    }
    for mut client in waiting {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(reply(&text).status, 200, "the idle connection is given up for those that ask");
    }
    drop(held);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
}

/// A socket that is not connected yet.
fn socket() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Takes every descriptor of the process but so many.
fn all_descriptors_but(left: usize) -> Vec<fs::File> {
    let mut held = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        held.push(file);
    }
    held.truncate(held.len() - left);
    held
}

#[test]
fn a_greedy_client_pushes_out_its_own_connections_only() {
    let _exclusive = alone();
    let server = serve(snapshot());
    let other = socket();
    other.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    other.connect(&server.addr().into()).unwrap();
    let mut other = TcpStream::from(other);
    let greedy: Vec<_> = (0..200).map(|_| connect(&server)).collect();
    assert_eq!(get(&server, "/ready").status, 200);
    other.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert_eq!(reply(&text).status, 200);
    drop(greedy);
}
