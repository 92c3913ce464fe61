//! The output files of a spool: one a topic, appended to, rolled at a size, and together within a bound.

use super::SpoolError;
use crate::wire::{Class, TopicId, Topics};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is read at once of a file that is counted or repaired.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks of a deleted file that are counted in one go.
const CHUNKS_PER_STEP: usize = 64;

/// Every output file of a spool.
///
/// A file that has reached `roll_bytes` becomes `<topic>.<number>.jsonl`. The numbers rise over all topics, so the lowest is the
/// oldest. A write that would go beyond `max_bytes` first deletes rolled telemetry, oldest first; rolled events and the files
/// that are written to are never deleted. Where that is not enough, the write fails as on a full disk.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    topics: Vec<TopicFile>,
    max_bytes: u64,
    roll_bytes: u64,
    /// Size of the rolled files, as far as they were not moved away by someone else.
    rolled_bytes: u64,
    next_roll: u64,
    /// A deleted file of which the records are still to be counted.
    deleted: Option<File>,
    dropped: u64,
}

/// A rolled telemetry file.
struct Rolled {
    number: u64,
    bytes: u64,
    path: PathBuf,
}

impl Files {
    /// Opens or creates the file of every output topic, and cuts off what a crash left of a last line.
    pub(super) fn open(dir: &Path, topics: &Topics, max_bytes: u64, roll_bytes: u64) -> Result<Self, SpoolError> {
        let topics = topics.outputs().map(|(name, class)| TopicFile::open(dir, name, class)).collect::<Result<_, _>>()?;
        let (dir, next_roll) = (dir.to_owned(), 1);
        let mut files = Self { dir, topics, max_bytes, roll_bytes, rolled_bytes: 0, next_roll, deleted: None, dropped: 0 };
        files.scan()?;
        Ok(files)
    }

    /// What may be lost of a topic.
    pub(super) fn class(&self, topic: TopicId) -> Class {
        self.topics[usize::from(topic.0)].class
    }

    /// Where whole lines of a topic are to be appended; [`Files::flush`] writes them.
    pub(super) fn lines(&mut self, topic: TopicId) -> &mut Vec<u8> {
        &mut self.topics[usize::from(topic.0)].lines
    }

    /// Whether a topic's file is to be rolled before more lines are appended. Decided line by line, so that where a file ends
    /// depends on its records alone and not on how many were written at once.
    pub(super) fn is_full(&self, topic: TopicId) -> bool {
        let topic = &self.topics[usize::from(topic.0)];
        topic.len + topic.unwritten() >= self.roll_bytes
    }

    /// Writes all lines, one write a file, and rolls the files that are full. After an error it goes on where it stopped.
    pub(super) fn flush(&mut self) -> Result<(), SpoolError> {
        // Only a rolled file makes room; one may be full from the beginning, by a lower `roll_bytes` than it was written with.
        self.roll_full()?;
        let unwritten = self.topics.iter().map(TopicFile::unwritten).sum();
        self.make_room(unwritten)?;
        self.topics.iter_mut().try_for_each(TopicFile::write)?;
        self.roll_full()
    }

    fn roll_full(&mut self) -> Result<(), SpoolError> {
        for topic in self.topics.iter_mut().filter(|topic| topic.len >= self.roll_bytes) {
            topic.roll(&self.dir, self.next_roll)?;
            self.next_roll += 1;
            self.rolled_bytes += std::mem::take(&mut topic.len);
            topic.reopen()?;
        }
        Ok(())
    }

    /// Telemetry records deleted since the start, as far as [`Files::count_deleted`] has come.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Counts a bounded part of the records in a file that was deleted.
    pub(super) fn count_deleted(&mut self) {
        for _ in 0..CHUNKS_PER_STEP {
            let Some(file) = &mut self.deleted else { return };
            let mut chunk = [0; CHUNK_BYTES];
            match file.read(&mut chunk) {
                Ok(len) if len > 0 => self.dropped += newlines(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.deleted = None,
            }
        }
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let bytes = bytes + self.topics.iter().map(|topic| topic.len).sum::<u64>();
        if bytes + self.rolled_bytes <= self.max_bytes {
            return Ok(());
        }
        for oldest in self.scan()? {
            if bytes + self.rolled_bytes <= self.max_bytes {
                break;
            }
            while self.deleted.is_some() {
                self.count_deleted();
            }
            // Counted afterwards, a part at each poll: to read a whole file may take longer than a poll should.
            self.deleted = Some(File::open(&oldest.path).map_err(SpoolError::at(&oldest.path))?);
            fs::remove_file(&oldest.path).map_err(SpoolError::at(&oldest.path))?;
            self.rolled_bytes -= oldest.bytes;
        }
        if bytes + self.rolled_bytes <= self.max_bytes {
            return Ok(());
        }
        Err(SpoolError::Full { dir: self.dir.clone(), max_bytes: self.max_bytes })
    }

    /// Takes stock of the rolled files, and returns those of telemetry, oldest first.
    fn scan(&mut self) -> Result<Vec<Rolled>, SpoolError> {
        let mut telemetry = Vec::new();
        self.rolled_bytes = 0;
        for entry in fs::read_dir(&self.dir).map_err(SpoolError::at(&self.dir))? {
            let entry = entry.map_err(SpoolError::at(&self.dir))?;
            let name = entry.file_name();
            let of = |topic: &TopicFile| Some((topic.class, topic.roll_number(name.to_str()?)?));
            let Some((class, number)) = self.topics.iter().find_map(of) else { continue };
            // Someone may have moved it away since the folder was read.
            let Ok(metadata) = entry.metadata() else { continue };
            self.rolled_bytes += metadata.len();
            self.next_roll = self.next_roll.max(number + 1);
            if class == Class::Telemetry {
                telemetry.push(Rolled { number, bytes: metadata.len(), path: entry.path() });
            }
        }
        telemetry.sort_unstable_by_key(|rolled| rolled.number);
        Ok(telemetry)
    }
}

/// The file that a topic is written to.
#[derive(Debug)]
struct TopicFile {
    name: String,
    class: Class,
    path: PathBuf,
    file: File,
    /// Length of the file.
    len: u64,
    /// Whole lines, of which the first `written` bytes are in the file.
    lines: Vec<u8>,
    written: usize,
}

impl TopicFile {
    fn open(dir: &Path, name: &str, class: Class) -> Result<Self, SpoolError> {
        let path = super::topic_path(dir, name);
        let (file, len) = open_whole(&path)?;
        Ok(Self { name: name.to_owned(), class, path, file, len, lines: Vec::new(), written: 0 })
    }

    fn reopen(&mut self) -> Result<(), SpoolError> {
        (self.file, self.len) = open_whole(&self.path)?;
        Ok(())
    }

    fn unwritten(&self) -> u64 {
        (self.lines.len() - self.written) as u64
    }

    fn write(&mut self) -> Result<(), SpoolError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.follow()?;
        while self.written < self.lines.len() {
            match self.file.write(&self.lines[self.written..]) {
                Ok(len) if len > 0 => {
                    self.written += len;
                    self.len += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    self.cut_half_line();
                    let error = result.err().unwrap_or_else(|| ErrorKind::WriteZero.into());
                    return Err(SpoolError::at(&self.path)(error));
                }
            }
        }
        self.lines.clear();
        self.written = 0;
        Ok(())
    }

    /// Makes sure that the file is the one at its path (a person may have moved or emptied it) and its length is right.
    fn follow(&mut self) -> Result<(), SpoolError> {
        let opened = self.file.metadata().map_err(SpoolError::at(&self.path))?;
        if fs::metadata(&self.path).is_ok_and(|found| is_same(&found, &opened)) {
            self.len = opened.len();
        } else {
            self.written = whole_lines(&self.lines[..self.written]);
            self.reopen()?;
        }
        Ok(())
    }

    /// After a failed write: a reader should find whole lines only. Where that fails too, the line is completed later.
    fn cut_half_line(&mut self) {
        let whole = whole_lines(&self.lines[..self.written]);
        let len = self.len - (self.written - whole) as u64;
        if len < self.len && self.file.set_len(len).is_ok() {
            (self.written, self.len) = (whole, len);
        }
    }

    fn roll(&self, dir: &Path, number: u64) -> Result<(), SpoolError> {
        let rolled = dir.join(format!("{}.{number:06}.jsonl", self.name));
        fs::rename(&self.path, rolled).map_err(SpoolError::at(&self.path))
    }

    /// The number in the name of a rolled file of this topic.
    fn roll_number(&self, file_name: &str) -> Option<u64> {
        let number = file_name.strip_prefix(&self.name)?.strip_prefix('.')?.strip_suffix(".jsonl")?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
    }
}

/// Opens a file to append to, without what a crash may have left of a last line, and returns its length.
fn open_whole(path: &Path) -> Result<(File, u64), SpoolError> {
    let open = || {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        let mut len = metadata.len();
        if metadata.is_file() {
            len = whole_len(&file, len)?;
            if len < metadata.len() {
                log::warn!("{}: cut off {} bytes of an unfinished last line", path.display(), metadata.len() - len);
                file.set_len(len)?;
            }
        }
        Ok((file, len))
    };
    open().map_err(SpoolError::at(path))
}

/// Length of a file's whole lines.
fn whole_len(file: &File, mut len: u64) -> std::io::Result<u64> {
    let mut chunk = [0; CHUNK_BYTES];
    while len > 0 {
        let start = len.saturating_sub(CHUNK_BYTES as u64);
        let chunk = &mut chunk[..(len - start) as usize];
        file.read_exact_at(chunk, start)?;
        len = start + whole_lines(chunk) as u64;
        if len > start {
            break;
        }
    }
    Ok(len)
}

fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1)
}

pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

pub(super) fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
