//! Log lines to the terminal and to a file that is rotated by size: `2026-11-24T13:00:00Z [INFO] lot L-1 completed`.
//!
//! `rolling-file` rotates: `simulator.log.1` is the newest of the old files. `file-rotate` 0.8 was looked at first; it asserts that
//! the old files are those it remembers, so that whoever tidies one up ends the program at the next rotation.

use crate::config::Log;
use rolling_file::{BasicRollingFileAppender, RollingConditionBasic};
use simplelog::{ColorChoice, CombinedLogger, ConfigBuilder, SharedLogger, TermLogger, TerminalMode, WriteLogger};
use std::fs;
use std::io::{self, IsTerminal as _, LineWriter, Write};
use std::path::{Path, PathBuf};
use time::macros::format_description;

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
    /// The process logs already.
    #[error("logging has begun already")]
    Twice(#[from] log::SetLoggerError),
}

/// Logs from now on. A disk that is full later, or a terminal that is closed, loses lines and nothing else.
///
/// # Errors
/// [`InitError`]: the log file cannot be opened.
pub fn init(config: &Log) -> Result<(), InitError> {
    let mut loggers = vec![terminal(config.terminal_level)];
    if let Some(path) = &config.file {
        let source = |source| InitError::File { path: path.clone(), source };
        loggers.push(file(path, config).map_err(source)?);
    }
    Ok(CombinedLogger::init(loggers)?)
}

fn terminal(level: log::LevelFilter) -> Box<dyn SharedLogger> {
    // `Auto` respects NO_COLOR and TERM, but does not ask whether it is a terminal.
    let color = if io::stderr().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
    TermLogger::new(level, format(), TerminalMode::Stderr, color)
}

fn file(path: &Path, config: &Log) -> io::Result<Box<dyn SharedLogger>> {
    let file = RotatedFile::open(path, config.file_max_bytes as u64, config.files_kept)?;
    // A line is one write, done when the line is: nothing is lost when the process is killed.
    Ok(WriteLogger::new(config.level, format(), LineWriter::new(file)))
}

fn format() -> simplelog::Config {
    ConfigBuilder::new()
        .set_time_format_custom(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .set_thread_level(log::LevelFilter::Off)
        // The libraries' own lines are for their developers, and some would show what is sent where.
        .add_filter_allow_str(env!("CARGO_CRATE_NAME"))
        .build()
}

/// A file that is moved out of the way when it is full.
#[derive(Debug)]
struct RotatedFile {
    file: BasicRollingFileAppender,
    len: u64,
    len_max: u64,
}

impl RotatedFile {
    /// Continues the file at `path`; beside it, `kept` full ones are kept.
    fn open(path: &Path, len_max: u64, kept: usize) -> io::Result<Self> {
        // The appender is not left to decide, because it prints when it fails to rotate, and printing to a closed terminal panics.
        let never = RollingConditionBasic::new();
        let file = BasicRollingFileAppender::new_with_buffer_capacity(path, never, kept, 0)?;
        Ok(Self { file, len: fs::metadata(path)?.len(), len_max })
    }
}

impl Write for RotatedFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.len >= self.len_max {
            // Where it cannot be moved, it is written on and tried again when it has grown as much once more.
            let _ = self.file.rollover();
            self.len = 0;
        }
        let written = self.file.write(buf)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, LevelFilter, Record};
    use std::fs;

    const TARGET: &str = "mokasim::run";

    fn config(path: &Path) -> Log {
        let file = Some(path.to_owned());
        Log { level: LevelFilter::Info, terminal_level: LevelFilter::Off, file, file_max_bytes: 1000, files_kept: 3 }
    }

    fn logger(path: &Path) -> Box<dyn SharedLogger> {
        file(path, &config(path)).unwrap()
    }

    fn write(logger: &dyn SharedLogger, level: Level, target: &str, text: &str) {
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
        let logger = file(path, &Log { file_max_bytes: usize::MAX, ..config(path) }).unwrap();
        for _ in 0..1_000 {
            write(&*logger, Level::Error, TARGET, "a line that nobody will read");
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("simulator.log");
        let error = init(&config(&path)).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("[log] file"), "{error}");
    }
}
