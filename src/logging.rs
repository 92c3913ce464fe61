//! Log lines to the terminal and to a file that is rotated by size: `2026-11-24T13:00:00Z [INFO] lot L-1 completed`.

mod rotated;
mod stderr;

use crate::config::Log;
use crate::error::Exit;
use clap::ValueEnum;
use log::{Level, LevelFilter, Metadata, Record};
use rotated::RotatedFile;
use simplelog::{ConfigBuilder, WriteLogger};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use stderr::Stderr;
use time::macros::format_description;

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The journal where systemd has put standard error there, else the terminal and the file of [log]
    #[default]
    Auto,
    /// Standard error
    Terminal,
    /// The file of [log]
    File,
    /// Standard error in systemd's form: a level before each line and no time
    Journal,
}

/// The variable by which systemd says which stream is the journal's: `DEVICE:INODE`, see `systemd.exec(5)`.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// The log's own name for lines that somebody asked for.
const ANSWER: &str = concat!(env!("CARGO_CRATE_NAME"), "::answer");

/// Logs a line that somebody asked for: at INFO, or at the level of the outlet that would not take it.
pub(crate) fn answer(line: fmt::Arguments<'_>) {
    // Whatever the levels are, this one passes.
    log::error!(target: ANSWER, "{line}");
}

/// Logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {source}; see [log] file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file is asked for and none is configured.
    #[error("--log-target file: expected the path of a file in [log] file, found none")]
    NoFile,
    /// The process logs already.
    #[error("logging has begun already")]
    Twice(#[from] log::SetLoggerError),
}

impl InitError {
    /// What it means for the program's end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoFile => Exit::Config,
            Self::File { .. } | Self::Twice(_) => Exit::Io,
        }
    }
}

/// The log of this process, to be opened anew.
#[derive(Clone)]
pub struct Logging {
    target: Target,
    config: Arc<Mutex<Log>>,
    outlets: Arc<Outlets>,
    /// Lines that the file has not taken, and does not tell of yet.
    lost: Arc<AtomicU64>,
}

/// Logs from now on. A disk that is full later, or a terminal that is closed, loses lines and nothing else.
///
/// # Errors
/// [`InitError`]: the log file cannot be opened.
pub fn init(config: &Log, target: Target) -> Result<Logging, InitError> {
    let target = if target == Target::Auto && stderr_is_journal() { Target::Journal } else { target };
    if target == Target::File && config.file.is_none() {
        return Err(InitError::NoFile);
    }
    let lost = Arc::default();
    let (outlets, trouble) = open(config, target, &lost);
    trouble.map_or(Ok(()), Err)?;
    let outlets = Arc::new(Outlets(RwLock::new(outlets)));
    log::set_boxed_logger(Box::new(Arc::clone(&outlets)))?;
    log::set_max_level(outlets.level_max());
    Ok(Logging { target, config: Arc::new(Mutex::new(config.clone())), outlets, lost })
}

impl Logging {
    /// Opens the log anew: a file that was moved away is made again, or else tried again with each line. Levels are those of
    /// `levels` if given; all else stays. Returns whether the file is open.
    pub fn reopen(&self, levels: Option<&Log>) -> bool {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (config.level, config.terminal_level);
        if let Some(levels) = levels {
            (config.level, config.terminal_level) = (levels.level, levels.terminal_level);
        }
        let (outlets, trouble) = open(&config, self.target, &self.lost);
        if let Some(trouble) = &trouble {
            // To the file as it was, too.
            log::error!("{trouble}; it is tried again with each line");
        }
        *self.outlets.0.write().unwrap_or_else(PoisonError::into_inner) = outlets;
        log::set_max_level(self.outlets.level_max());
        let rows = [("log.level", before.0, config.level), ("log.terminal_level", before.1, config.terminal_level)];
        for (key, _, level) in rows.into_iter().filter(|(_, before, now)| before != now) {
            answer(format_args!("{key} is now {}", level.as_str().to_lowercase()));
        }
        trouble.is_none()
    }
}

/// Somewhere that lines of a level go.
type Outlet = (LevelFilter, Box<dyn log::Log>);

/// Everywhere that lines go.
struct Outlets(RwLock<Vec<Outlet>>);

impl Outlets {
    fn level_max(&self) -> LevelFilter {
        let outlets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        outlets.iter().map(|(level, _)| *level).max().unwrap_or(LevelFilter::Off)
    }
}

impl log::Log for Outlets {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        for (level, outlet) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            match level.to_level() {
                Some(level) if record.target() == ANSWER => {
                    let level = level.min(Level::Info);
                    outlet.log(&Record::builder().args(*record.args()).level(level).target(ANSWER).build());
                }
                _ => outlet.log(record),
            }
        }
    }

    fn flush(&self) {
        for (_, outlet) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            outlet.flush();
        }
    }
}

/// Whether standard error is the stream that systemd connected to the journal.
fn stderr_is_journal() -> bool {
    let stream = std::env::var(JOURNAL_STREAM).ok();
    let stderr = fs::metadata("/proc/self/fd/2").ok();
    stream.zip(stderr).is_some_and(|(stream, stderr)| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Everywhere that lines shall go, and what is wrong with the file: it is opened once it can be.
fn open(config: &Log, target: Target, lost: &Arc<AtomicU64>) -> (Vec<Outlet>, Option<InitError>) {
    let mut outlets = Vec::new();
    match target {
        Target::Auto | Target::Terminal => outlets.push((config.terminal_level, terminal(config.terminal_level))),
        Target::Journal => {
            outlets.push((config.level, Box::new(Journal { level: config.level, out: Mutex::new(Stderr::default()) })));
        }
        Target::File => {}
    }
    let mut trouble = None;
    if let (Target::Auto | Target::File, Some(path)) = (target, &config.file) {
        let (outlet, opened) = file(path, config, lost);
        outlets.push((config.level, outlet));
        trouble = opened.err().map(|source| InitError::File { path: path.clone(), source });
    }
    (outlets, trouble)
}

/// Lines as `sd-daemon(3)` has them: the level in angle brackets, as the journal knows the time.
struct Journal<W> {
    level: LevelFilter,
    out: Mutex<W>,
}

impl<W: Write + Send> log::Log for Journal<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            let lines: String = record.args().to_string().lines().map(|line| format!("<{priority}>{line}\n")).collect();
            // Nobody is left to tell when the journal is gone.
            let _closed = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(lines.as_bytes());
        }
    }

    fn flush(&self) {
        let _closed = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

fn terminal(level: LevelFilter) -> Box<dyn log::Log> {
    WriteLogger::new(level, format(), Stderr::default())
}

fn file(path: &Path, config: &Log, lost: &Arc<AtomicU64>) -> (Box<dyn log::Log>, io::Result<()>) {
    let (file, opened) = RotatedFile::open(path, config.file_max_bytes as u64, config.files_kept, Arc::clone(lost));
    (WriteLogger::new(config.level, format(), file), opened)
}

fn format() -> simplelog::Config {
    ConfigBuilder::new()
        .set_time_format_custom(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .set_thread_level(LevelFilter::Off)
        // The libraries' own lines are for their developers, and some would show what is sent where.
        .add_filter_allow_str(env!("CARGO_CRATE_NAME"))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const TARGET: &str = "mokasim::run";

    fn config(path: &Path) -> Log {
        let file = Some(path.to_owned());
        Log { level: LevelFilter::Info, terminal_level: LevelFilter::Off, file, file_max_bytes: 1000, files_kept: 3 }
    }

    fn logger(path: &Path) -> Box<dyn log::Log> {
        let (logger, opened) = file(path, &config(path), &Arc::default());
        opened.unwrap();
        logger
    }

    fn write(logger: &dyn log::Log, level: Level, target: &str, text: &str) {
        logger.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_is_in_the_file_at_once_with_time_and_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        let logger = logger(&path);
        write(&*logger, Level::Info, TARGET, "lot L-1 completed");
        write(&*logger, Level::Warn, TARGET, "machine fresa_cnc-Italia-1 blocked");
        write(&*logger, Level::Debug, TARGET, "below the level");
        write(&*logger, Level::Error, "ureq", "not ours");
        let text = read(&path);
        let lines: Vec<_> = text.lines().map(|line| line.split_at(21)).collect();
        assert_eq!(
            lines.iter().map(|line| line.1).collect::<Vec<_>>(),
            ["[INFO] lot L-1 completed", "[WARN] machine fresa_cnc-Italia-1 blocked"]
        );
        for (instant, _) in lines {
            let parsed = time::OffsetDateTime::parse(instant.trim_end(), &time::format_description::well_known::Rfc3339);
            assert!(parsed.is_ok_and(|time| time.offset().is_utc()), "{instant}");
        }
    }

    #[test]
    fn the_file_is_continued_and_rotated_between_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        fs::write(&path, "from an earlier run\n").unwrap();
        let logger = logger(&path);
        for n in 0..100 {
            write(&*logger, Level::Info, TARGET, &format!("line {n:03} {}", "x".repeat(60)));
        }
        let files = ["simulator.log.3", "simulator.log.2", "simulator.log.1", "simulator.log"]
            .map(|name| read(&dir.path().join(name)));
        assert!(files.iter().all(|text| text.len() < 1100 && text.ends_with('\n')));
        let numbers: Vec<u32> = files.concat().lines().map(|line| line[33..36].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers.last() == Some(&99), "{numbers:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn whoever_tidies_up_does_not_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        let logger = logger(&path);
        for n in 0..200 {
            write(&*logger, Level::Info, TARGET, &format!("line {n:03} {}", "x".repeat(60)));
            match n {
                50 => fs::remove_file(dir.path().join("simulator.log.1")).unwrap(),
                100 => fs::remove_file(&path).unwrap(),
                150 => fs::remove_dir_all(dir.path()).unwrap(),
                _ => {}
            }
        }
        fs::create_dir(dir.path()).unwrap();
        for _ in 0..20 {
            write(&*logger, Level::Info, TARGET, &format!("back again {}", "x".repeat(60)));
        }
        assert!(read(&path).contains("back again"));
    }

    #[test]
    fn a_full_disk_loses_lines_and_no_more() {
        // Every write to it fails as on a full disk.
        let path = Path::new("/dev/full");
        let (logger, _) = file(path, &Log { file_max_bytes: usize::MAX, ..config(path) }, &Arc::default());
        for _ in 0..1_000 {
            write(&*logger, Level::Error, TARGET, "a line that nobody will read");
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("simulator.log");
        let error = init(&config(&path), Target::File).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("[log] file"), "{error}");
    }

    #[test]
    fn the_journal_gets_a_level_before_each_line_and_no_time() {
        let journal = Journal { level: LevelFilter::Info, out: Mutex::new(Vec::new()) };
        write(&journal, Level::Error, TARGET, "cannot write");
        write(&journal, Level::Warn, TARGET, "two\nlines");
        write(&journal, Level::Info, TARGET, "started");
        write(&journal, Level::Debug, TARGET, "below the level");
        write(&journal, Level::Error, "ureq", "not ours");
        let text = String::from_utf8(journal.out.into_inner().unwrap()).unwrap();
        assert_eq!(text, "<3>cannot write\n<4>two\n<4>lines\n<6>started\n");
    }
}
