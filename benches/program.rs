//! What the whole program costs a machine: from start to the first `/health` on the spool, memory, and CPU when nothing happens
//! and when 26 machines work. `cargo bench --bench program`. The reference of the same run is `cat`: a process of the same
//! machine that does nothing.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops where it cannot measure")]

use mokasim::clock;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const STARTS: usize = 20;
const WINDOW: Duration = Duration::from_secs(20);
/// Kernel ticks a second, in which `/proc` counts CPU time.
const CLOCK_TICKS: f64 = 100.0;

struct Factory(Child);

impl Drop for Factory {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Factory {
    fn start(dir: &tempfile::TempDir, port: u16, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mokasim"));
        command.arg("run").args(args).current_dir(dir.path()).env("HEALTH_CHECK_PORT", port.to_string());
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn cpu_s(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / CLOCK_TICKS
    }
}

/// Whether `/health` answers.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    write!(stream, "GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds from the start of the process to its first answer.
fn start_ms() -> f64 {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let begun = clock::now();
    let _factory = Factory::start(&dir, port, &[]);
    while !answers(port) {
        clock::sleep(Duration::from_micros(200));
    }
    clock::now().duration_since(begun).as_secs_f64() * 1e3
}

/// Milliseconds from the start of `cat` to its first answer.
fn cat_ms() -> f64 {
    let begun = clock::now();
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"x").unwrap();
    cat.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    cat.wait().unwrap();
    clock::now().duration_since(begun).as_secs_f64() * 1e3
}

/// CPU share in percent of a core and resident KiB at the end of the window.
fn at_work(args: &[&str]) -> (f64, u64) {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let factory = Factory::start(&dir, port, args);
    while !answers(port) {
        clock::sleep(Duration::from_millis(1));
    }
    let (begun, before) = (clock::now(), factory.cpu_s());
    clock::sleep(WINDOW);
    let share = (factory.cpu_s() - before) / clock::now().duration_since(begun).as_secs_f64() * 100.0;
    (share, factory.resident_kib())
}

fn main() {
    let (ours, reference): (Vec<f64>, Vec<f64>) = (0..STARTS).map(|_| (start_ms(), cat_ms())).unzip();
    println!(
        "start to first /health: {:.1} ms, median of {STARTS} (cat: {:.1} ms; target 20 ms)",
        median(ours),
        median(reference)
    );
    let (idle, idle_kib) = at_work(&[]);
    println!("idle at a 100 ms tick: {idle:.2} % of a core (target 0.5 %), {idle_kib} KiB resident (target 10,000)");
    let (busy, busy_kib) = at_work(&["--demo", "1", "--speed", "60"]);
    println!("26 machines at work at 60x: {busy:.2} % of a core, {busy_kib} KiB resident");
}
