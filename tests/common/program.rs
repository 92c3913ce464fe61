//! The real binary, in a folder of its own.

#![allow(dead_code, reason = "each test file uses its part of it")]

use mokasim::clock;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which the program runs, with its configuration, data and log.
pub(crate) struct Place(TempDir);

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    stderr: PathBuf,
}

impl Place {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A folder with this configuration.
    pub(crate) fn with_config(toml: &str) -> Self {
        let place = Self::new();
        place.write("config.toml", toml);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Appends to a file as a shell's `>>` does.
    pub(crate) fn append(&self, name: &str, text: &str) {
        let path = self.path(name);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The whole lines of a topic of the spool in `dir`, as JSON, rolled files first. None while there is no file.
    pub(crate) fn topic(&self, dir: &str, topic: &str) -> Vec<Value> {
        topic_files(&self.path(dir), topic).iter().flat_map(|path| lines(path)).collect()
    }

    /// The command, in this folder, at a free health port, with nothing of the caller's environment that it would heed.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mokasim"));
        command.args(args).current_dir(self.0.path()).env("HEALTH_CHECK_PORT", "0").stdin(Stdio::null());
        for name in [
            "CONFIG_PATH",
            "MOKAMETRICS_API_KEY",
            "ENABLE_API",
            "KAFKA_BOOTSTRAP_SERVERS",
            "MOKAMETRICS_KAFKA_PASSWORD",
            "NO_COLOR",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the command to its end, which must be a success.
    pub(crate) fn run_ok(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Starts `mokasim run` and waits until it serves.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_command(self.command(args))
    }

    /// The same, of a command that was changed.
    pub(crate) fn start_command(&self, command: Command) -> Running {
        let running = self.launch_command(command);
        wait_for("the factory to serve", || running.health_addr().is_some());
        running
    }

    /// Starts a command and does not wait.
    pub(crate) fn launch(&self, args: &[&str]) -> Running {
        self.launch_command(self.command(args))
    }

    /// The same, of a command that was changed.
    pub(crate) fn launch_command(&self, mut command: Command) -> Running {
        let stderr = self.path(&format!("stderr.{}", fs::read_dir(self.0.path()).unwrap().count()));
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&stderr).unwrap()).spawn().unwrap();
        Running { child, stderr }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    fn health_addr(&self) -> Option<String> {
        let said = self.said();
        let (_, rest) = said.split_once("health at http://")?;
        rest.split_once("/health").map(|(addr, _)| addr.to_owned())
    }

    /// A page of its HTTP server: status and body.
    pub(crate) fn get(&self, page: &str) -> (u16, String) {
        let addr = self.health_addr().unwrap();
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nHost: mokasim\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// `/health`, as JSON.
    pub(crate) fn health(&self) -> Value {
        serde_json::from_str(&self.get("/health").1).unwrap()
    }

    /// Sends a signal by its name: `TERM`, `KILL`, ...
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it has left.
    pub(crate) fn has_left(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has left.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the program to leave", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Asks it to leave and waits; it must leave with success.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files of a topic, oldest first.
pub(crate) fn topic_files(dir: &Path, topic: &str) -> Vec<PathBuf> {
    let prefix = format!("{topic}.");
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(&prefix) && name.ends_with(".jsonl")).collect();
    // `TOPIC.000001.jsonl` sorts before `TOPIC.jsonl`, the one that is written to.
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

/// The whole lines of a file, as JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display())))
        .collect()
}

/// Waits for a condition; one that does not come fails the test.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !condition() {
        assert!(clock::now() < deadline, "waited in vain for {what}");
        clock::sleep(Duration::from_millis(5));
    }
}

/// A configuration whose stages take seconds instead of an hour, and whose pages may be asked for as often as a test likes.
pub(crate) const QUICK: &str = "
[processing_times.fresa_cnc]
min = 1
max = 3
[processing_times.tornio]
min = 1
max = 2
[processing_times.assemblaggio]
min = 1
max = 3
[processing_times.test]
min = 1
max = 2
[simulation]
telemetry_interval = 1
machine_block_probability = 0.3
block_duration = { min = 1, max = 2 }
[health_check]
requests_per_second = 1000
";
