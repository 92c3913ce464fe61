//! The log file, rotated by size.
//!
//! `rolling-file` rotates: `simulator.log.1` is the newest of the old files. `file-rotate` 0.8 was looked at first; it asserts that
//! the old files are those it remembers, so that whoever tidies one up ends the program at the next rotation.

use crate::config::FILES_KEPT_MAX;
use rolling_file::{BasicRollingFileAppender, RollingConditionBasic};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of whole lines that is moved out of the way when it is full. Lines that a disk does not take are lost, and the next one
/// that it takes stands behind their number.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    kept: usize,
    len_max: u64,
    /// None after a failure: it is opened anew, since the disk may have been exchanged.
    file: Option<Opened>,
    line: Vec<u8>,
    /// Outlives this file: one that is opened in its place tells of them.
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Opened {
    appender: BasicRollingFileAppender,
    len: u64,
    /// A full disk has cut the last line short. The next one ends it: the disk may be full still, and that is no reason not to open.
    cut_short: bool,
}

impl RotatedFile {
    /// Continues the file at `path`; beside it, `kept` full ones are kept. Where it cannot be opened, it is tried again with each
    /// line. `lost` is how many lines were lost before.
    pub(super) fn open(path: &Path, len_max: u64, kept: usize, lost: Arc<AtomicU64>) -> (Self, io::Result<()>) {
        let mut file = Self { path: path.to_owned(), kept, len_max, file: None, line: Vec::new(), lost };
        let opened = file.opened().map(|_| ());
        if opened.is_ok() {
            file.remove_surplus();
        }
        (file, opened)
    }

    /// Removes the full ones that a larger `kept` of an earlier run has left: the appender knows of none beyond its own.
    fn remove_surplus(&self) {
        let surplus = self.kept + 1..=FILES_KEPT_MAX;
        let number = |path: &Path| path.extension()?.to_str()?.parse().ok();
        let is_surplus = |path: &PathBuf| {
            path.file_stem() == self.path.file_name() && number(path).is_some_and(|number| surplus.contains(&number))
        };
        let entries = self.path.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(is_surplus) {
            // One that cannot be removed is tried again at the next start.
            let _left = fs::remove_file(path);
        }
    }

    fn opened(&mut self) -> io::Result<&mut Opened> {
        if self.file.is_none() {
            if fs::metadata(&self.path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
                // Opening it would wait for a reader.
                return Err(io::Error::other("it is a pipe"));
            }
            // Where it is a link, what it leads to is moved out of the way, and not the link: it is made first, to be found.
            File::options().append(true).create(true).open(&self.path)?;
            self.path = fs::canonicalize(&self.path)?;
            // The appender is not left to decide, because it prints when it fails to rotate, and printing to a closed terminal
            // panics.
            let never = RollingConditionBasic::new();
            let appender = BasicRollingFileAppender::new_with_buffer_capacity(&self.path, never, self.kept, 0)?;
            let metadata = fs::metadata(&self.path)?;
            if !metadata.is_file() {
                // A device is never full, and whoever moved it would take it from the machine.
                self.len_max = u64::MAX;
            }
            let (len, cut_short) = (metadata.len(), ends_within_a_line(&self.path)?);
            self.file = Some(Opened { appender, len, cut_short });
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let (len_max, lost) = (self.len_max, self.lost.load(Ordering::Relaxed));
        let file = self.opened()?;
        let mut stuck = None;
        if file.len >= len_max {
            // Where it cannot be moved, it is written on and tried again when it has grown as much once more.
            stuck = file.appender.rollover().err();
            file.cut_short &= stuck.is_some();
            file.len = 0;
        }
        if file.cut_short {
            file.appender.write_all(b"\n")?;
            file.cut_short = false;
        }
        if let Some(error) = stuck {
            file.appender.write_all(format!("(this log is full and cannot be moved: {error})\n").as_bytes())?;
        }
        if lost > 0 {
            file.appender.write_all(format!("(lines missing here: {lost})\n").as_bytes())?;
        }
        file.appender.write_all(line)?;
        file.len += line.len() as u64;
        self.lost.fetch_sub(lost, Ordering::Relaxed);
        Ok(())
    }
}

impl Write for RotatedFile {
    /// Collects a line, and writes it when it is whole: nothing is lost when the process is killed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            if self.write_line(&line).is_err() {
                self.file = None;
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a full disk has cut the last line short.
fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_disk_did_not_take_are_counted_and_the_others_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        fs::write(&path, "a line cut sh").unwrap();
        let (mut file, _) = RotatedFile::open(&path, 1_000, 1, Arc::default());
        let log = |file: &mut RotatedFile, text: &str| text.bytes().for_each(|byte| file.write_all(&[byte]).unwrap());
        log(&mut file, "first\n");
        // A folder in the place of the file: opening it for writing fails, as on a disk that has turned read-only.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        file.file = None;
        log(&mut file, "lost\n");
        log(&mut file, "lost as well\n");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "a line cut sh").unwrap();
        log(&mut file, "second\n");
        log(&mut file, "third\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line cut sh\n(lines missing here: 2)\nsecond\nthird\n");
    }

    #[test]
    fn a_log_that_cannot_be_moved_is_written_on_and_says_so_each_time_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        fs::create_dir(dir.path().join("simulator.log.1")).unwrap();
        let (mut file, _) = RotatedFile::open(&path, 10, 1, Arc::default());
        (0..5).for_each(|n| file.write_all(format!("line {n}\n").as_bytes()).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let written: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
        let stuck = "(this log is full and cannot be moved";
        assert_eq!(written, ["line 0", "line 1", stuck, "line 2", "line 3", stuck, "line 4"]);
    }

    #[test]
    fn of_a_link_what_it_leads_to_is_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("simulator.log"), dir.path().join("real.log"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        let (mut file, _) = RotatedFile::open(&path, 10, 1, Arc::default());
        (0..3).for_each(|n| file.write_all(format!("line {n}\n").as_bytes()).unwrap());
        assert!(path.is_symlink());
        assert_eq!(fs::read_to_string(dir.path().join("real.log.1")).unwrap(), "line 0\nline 1\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 2\n");
    }

    #[test]
    fn a_device_is_left_where_it_is_and_a_pipe_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator.log");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let (mut file, _) = RotatedFile::open(&path, 10, 1, Arc::default());
        (0..5).for_each(|n| file.write_all(format!("line {n}\n").as_bytes()).unwrap());
        assert!(path.is_symlink() && fs::read_dir(dir.path()).unwrap().count() == 1);

        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (_, opened) = RotatedFile::open(&path, 10, 1, Arc::default());
        assert_eq!(opened.unwrap_err().to_string(), "it is a pipe");
    }
}
