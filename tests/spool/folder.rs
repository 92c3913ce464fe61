//! A folder in the hands of a test.

use mokasim::bus::spool::Spool;
use mokasim::bus::{Bus as _, Full, Position, Taken};
use mokasim::clock;
use mokasim::config;
use mokasim::units::SimTime;
use mokasim::wire::{Record, TopicId, Topics, spool_line};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const MEMORY_BYTES: usize = 4 << 20;

/// A folder, its spool when one is open, and a clock of its own.
pub(crate) struct Folder {
    pub(crate) config: config::Spool,
    pub(crate) topics: Topics,
    pub(crate) now: Instant,
    spool: Option<Spool>,
    _dir: TempDir,
}

impl Folder {
    pub(crate) fn new(max_bytes: u64, roll_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config::Spool { dir: dir.path().join("data"), max_bytes, roll_bytes };
        let topics = Topics {
            orders: "orders".into(),
            telemetry: vec!["telemetry.a".into(), "telemetry.b".into()],
            events: "events".into(),
            rejected: "rejected".into(),
        };
        let mut folder = Self { config, topics, now: clock::now(), spool: None, _dir: dir };
        folder.restart();
        folder
    }

    pub(crate) fn roomy() -> Self {
        Self::new(1 << 30, 1 << 28)
    }

    /// Opens the spool anew; one that was open is dropped as by a crash.
    pub(crate) fn restart(&mut self) {
        self.spool = None;
        self.spool = Some(Spool::open(&self.config, &self.topics, MEMORY_BYTES).unwrap());
    }

    pub(crate) fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    /// A poll, 100 ms after the last one.
    pub(crate) fn poll(&mut self, orders_max: usize, mut take: impl FnMut(Position, &[u8]) -> Taken) {
        self.now += Duration::from_millis(100);
        let now = self.now;
        self.spool().poll(now, orders_max, &mut |incoming| take(incoming.position, incoming.payload));
    }

    /// What a poll hands over.
    pub(crate) fn orders(&mut self) -> Vec<String> {
        let mut orders = Vec::new();
        self.poll(100, |_, payload| {
            orders.push(String::from_utf8(payload.to_vec()).unwrap());
            Taken::Done
        });
        orders
    }

    /// Polls until nothing waits, or for ten seconds.
    pub(crate) fn write(&mut self) {
        for _ in 0..100 {
            self.poll(0, |_, _| Taken::Later);
            if self.spool().status().outbox_records == 0 {
                break;
            }
        }
    }

    pub(crate) fn close(&mut self) {
        let now = self.now;
        assert!(self.spool().close(now));
        self.spool = None;
    }

    pub(crate) fn path(&self, topic: &str) -> PathBuf {
        self.config.dir.join(format!("{topic}.jsonl"))
    }

    pub(crate) fn append(&self, topic: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(topic)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Name and content of every output file, in order of their numbers.
    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        let files = fs::read_dir(&self.config.dir).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let outputs = files.filter(|path| !name(path).starts_with('.') && !name(path).starts_with("orders."));
        outputs.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
    }
}

/// A record that is unlike any other.
pub(crate) fn publish(spool: &mut Spool, topic: TopicId, n: u64, padding: usize) -> Result<(), Full> {
    with_record(topic, n, padding, |record| spool.publish(record))
}

/// The line that it becomes.
pub(crate) fn line(topic: TopicId, n: u64, padding: usize) -> String {
    let mut line = Vec::new();
    with_record(topic, n, padding, |record| spool_line(record, &mut line));
    String::from_utf8(line).unwrap()
}

fn with_record<T>(topic: TopicId, n: u64, padding: usize, use_it: impl FnOnce(&Record<'_>) -> T) -> T {
    let (seq, value) = (n.to_string(), format!(r#"{{"n":{n},"padding":"{}"}}"#, "x".repeat(padding)));
    let headers = [("machine_id", &b"fresa_cnc-Italia-1"[..]), ("seq", seq.as_bytes())];
    use_it(&Record {
        topic,
        key: b"fresa_cnc-Italia-1",
        timestamp: SimTime(n as i64),
        headers: &headers,
        value: value.as_bytes(),
    })
}
