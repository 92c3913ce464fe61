//! The spool, the bus of a factory without a broker: a folder with a file of JSON lines for each topic.
//!
//! Records wait in an [`Outbox`] and are written at the next poll, one write a file; they are acknowledged when the file system
//! has taken them. Orders come from a file that anybody may append to. Nothing is synced to the disk: what a loss of power
//! takes is the operating system's last seconds.

mod files;
mod lock;
mod orders;

pub use lock::Lock;

use super::outbox::Outbox;
use super::{Bus, Full, Incoming, Severity, Status, Taken, Trouble};
use crate::clock;
use crate::wire::{Record, Topics, spool_line};
use files::Files;
use orders::{Mark, Orders};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than three numbers take; what is longer is not ours.
const POSITION_BYTES_MAX: u64 = 64;
/// The [`Mark`] of the next order: three numbers.
const POSITION_FILE: &str = ".position";
/// How often the position is written while orders arrive, and how soon after a failure the disk is tried again.
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines are collected up to so many bytes before they are written.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches written in one poll: about 4,000 records, of which each takes a microsecond at most.
const BATCHES_PER_POLL: usize = 8;

/// Why the spool cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another instance uses the folder.
    #[error("{}: another instance is running on this folder", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The files take all the space they may, and no rolled telemetry is left to delete.
    #[error("{}: the files have reached max_bytes = {max_bytes}, and there is no rolled telemetry to delete; move old files away", dir.display())]
    Full {
        /// The folder.
        dir: PathBuf,
        /// The bound.
        max_bytes: u64,
    },
}

impl SpoolError {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A folder as a bus.
#[derive(Debug)]
pub struct Spool {
    outbox: Outbox,
    files: Files,
    /// The last record whose line was given to `files` and is not written yet.
    batch_end: Option<u64>,
    orders: Orders,
    position_path: PathBuf,
    position_saved: Mark,
    position_due: Option<Instant>,
    writing: Outage,
    reading: Outage,
    saving: Outage,
    lock: Lock,
}

impl Spool {
    /// Opens the folder, or makes it, for this instance alone. At most `memory_bytes_max` hold records while the disk takes none.
    ///
    /// # Errors
    /// [`SpoolError::InUse`], or [`SpoolError::Io`] where the folder or a file in it cannot be made, read or written.
    pub fn open(config: &crate::config::Spool, topics: &Topics, memory_bytes_max: usize) -> Result<Self, SpoolError> {
        let dir = &config.dir;
        let lock = Lock::take(dir)?;
        let position_path = dir.join(POSITION_FILE);
        let position_saved = load_position(&position_path)?;
        Ok(Self {
            outbox: Outbox::new(memory_bytes_max),
            files: Files::open(dir, topics, config.max_bytes, config.roll_bytes)?,
            batch_end: None,
            orders: Orders::open(&topic_path(dir, &topics.orders), position_saved)?,
            position_path,
            position_saved,
            position_due: None,
            writing: Outage::new("records wait in memory", "records are written"),
            reading: Outage::new("no orders arrive", "orders are read"),
            saving: Outage::new("a restart would repeat orders", "the position is saved"),
            lock,
        })
    }

    fn write(&mut self, now: Instant) {
        if self.writing.is_over(now) {
            let result = self.write_batches();
            self.writing.note(now, result);
        }
    }

    fn write_batches(&mut self) -> Result<(), SpoolError> {
        self.write_batch()?;
        for _ in 0..BATCHES_PER_POLL {
            self.fill_batch();
            if self.batch_end.is_none() {
                break;
            }
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), SpoolError> {
        if self.batch_end.is_some() {
            self.lock.hold()?;
        }
        self.files.flush()?;
        if let Some(seq) = self.batch_end.take() {
            self.outbox.acknowledge(seq);
        }
        Ok(())
    }

    /// Turns records into lines until there are enough for a batch, or a file is full and has to be rolled first.
    fn fill_batch(&mut self) {
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(entry) = self.outbox.take() else { return };
            self.batch_end = Some(entry.seq);
            let record = entry.record();
            let lines = self.files.lines(record.topic);
            let before = lines.len();
            spool_line(&record, lines);
            bytes += lines.len() - before;
            if self.files.is_full(record.topic) {
                return;
            }
        }
    }

    /// Writes the position of the next order where it has changed.
    fn save_position(&mut self, now: Instant) {
        let mark = self.orders.mark();
        if mark != self.position_saved && self.saving.is_over(now) {
            let result = save_position(&self.position_path, mark);
            if result.is_ok() {
                self.position_saved = mark;
            }
            self.saving.note(now, result);
            self.position_due = Some(now + INTERVAL);
        }
    }
}

impl Bus for Spool {
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        // Before new orders are handed over: those of the last poll have had time to be made durable.
        if self.position_due.is_none_or(|due| due <= now) {
            self.save_position(now);
        }
        self.write(now);
        self.files.count_deleted();
        if self.reading.is_over(now) {
            let result = self.orders.poll(orders_max, orders);
            self.reading.note(now, result);
        }
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.outbox.push(record, self.files.class(record.topic))
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn status(&self) -> Status {
        let outages = [&self.writing, &self.reading, &self.saving];
        Status {
            connected: outages.iter().all(|outage| outage.present.is_none()),
            outbox_records: self.outbox.records(),
            outbox_bytes: self.outbox.bytes(),
            acknowledged: self.outbox.acknowledged(),
            dropped: self.outbox.dropped() + self.files.dropped(),
            refused: 0,
            consumer_lag: self.orders.lag(),
            errors: outages.iter().map(|outage| outage.errors).sum(),
            trouble: Trouble::worst(outages.into_iter().filter_map(Outage::trouble)),
        }
    }

    /// Writes what a poll left, and sleeps.
    fn wait(&mut self, mut now: Instant, until: Instant) {
        while now < until && self.outbox.records() > 0 && self.writing.present.is_none() {
            self.write(now);
            now = clock::now();
        }
        clock::sleep(until.saturating_duration_since(now));
    }

    fn close(&mut self, now: Instant) -> bool {
        self.write(now);
        self.save_position(now);
        self.outbox.records() == 0 && self.orders.mark() == self.position_saved
    }
}

/// A kind of work that fails at times: tried again after a second, logged when it goes and when it is back.
#[derive(Debug)]
struct Outage {
    when_it_fails: &'static str,
    when_it_works: &'static str,
    /// When it is tried again, and what went wrong last.
    present: Option<(Instant, Arc<str>)>,
    errors: u64,
}

impl Outage {
    const fn new(when_it_fails: &'static str, when_it_works: &'static str) -> Self {
        Self { when_it_fails, when_it_works, present: None, errors: 0 }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.present.as_ref().is_none_or(|(retry_at, _)| *retry_at <= now)
    }

    fn trouble(&self) -> Option<Trouble> {
        let (_, reason) = self.present.as_ref()?;
        Some(Trouble { severity: Severity::Degraded, reason: Arc::clone(reason) })
    }

    fn note(&mut self, now: Instant, result: Result<(), SpoolError>) {
        match result {
            Ok(()) => {
                if self.present.take().is_some() {
                    log::info!("spool: {} again", self.when_it_works);
                }
            }
            Err(error) => {
                let reason: Arc<str> = format!("{error}; {} meanwhile", self.when_it_fails).into();
                if self.present.replace((now + INTERVAL, Arc::clone(&reason))).is_none() {
                    log::error!("spool: {reason}");
                }
                self.errors += 1;
            }
        }
    }
}

/// Appends orders to the orders file of a spool in one write, whether an instance runs on it or not. An unfinished last line
/// is finished first, so that it does not swallow the first of them.
///
/// # Errors
/// [`SpoolError::Io`]: the folder or the file cannot be made or written.
pub fn append_orders<'a>(dir: &Path, topics: &Topics, lines: impl IntoIterator<Item = &'a str>) -> Result<(), SpoolError> {
    let path = topic_path(dir, &topics.orders);
    fs::create_dir_all(dir).map_err(SpoolError::at(dir))?;
    let append = || {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut text = String::new();
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                text.push('\n');
            }
        }
        for line in lines {
            text.extend([line, "\n"]);
        }
        file.write_all(text.as_bytes())
    };
    append().map_err(SpoolError::at(&path))
}

fn topic_path(dir: &Path, topic: &str) -> PathBuf {
    dir.join(format!("{topic}.jsonl"))
}

fn load_position(path: &Path) -> Result<Mark, SpoolError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(POSITION_BYTES_MAX).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Mark::default()),
        read => read.map_err(SpoolError::at(path))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let parse = |text: &str| {
        let mut fields = text.split_ascii_whitespace();
        let (generation, offset) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Mark { generation, offset, checksum: u32::from_str_radix(fields.next()?, 16).ok()? })
    };
    Ok(parse(&text).unwrap_or_else(|| {
        let expected = "a file's number, an offset and a checksum";
        log::warn!("{}: found {text:?}, expected {expected}; orders are read from the beginning", path.display());
        Mark::default()
    }))
}

/// Writes a file beside it and puts that in its place, so that there is a whole one at any moment.
fn save_position(path: &Path, mark: Mark) -> Result<(), SpoolError> {
    let new = path.with_extension("new");
    fs::write(&new, format!("{} {} {:08x}\n", mark.generation, mark.offset, mark.checksum)).map_err(SpoolError::at(&new))?;
    fs::rename(&new, path).map_err(SpoolError::at(path))
}
