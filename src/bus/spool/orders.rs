//! The orders file of a spool: tailed line by line, wherever it is appended to, replaced or emptied.

use super::SpoolError;
use super::files::{is_same, newlines};
use crate::bus::{Incoming, Position, Taken};
use crate::wire::{ORDER_BYTES_MAX, order_line};
use log::Level;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Of a longer line so much is handed on: enough to see that it is too long.
const LINE_BYTES_MAX: usize = ORDER_BYTES_MAX + 1;
/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read in one poll.
const CHUNKS_PER_POLL: usize = 16;
/// What is read at once to count lines, and how often in one poll.
const COUNT_BYTES: usize = 16 * 1024;
const COUNTS_PER_POLL: usize = 16;
/// How many bytes before a place in the file vouch for it.
const MARK_BYTES: usize = 64;

/// A place in the orders file, with a checksum of the bytes before it. In a file that was appended to, or replaced by a copy
/// with more in it, they are still there; in one that was replaced by or overwritten with another they are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often it was another file: the partition of its orders, so that those at the same offset are not taken for one.
    pub(super) generation: i32,
    /// Where the first line begins that is not done with.
    pub(super) offset: u64,
    /// CRC-32C of the 64 bytes before it, or of as many as there are.
    pub(super) checksum: u32,
}

impl Mark {
    fn stands_in(self, file: &File) -> io::Result<bool> {
        match checksum_before(file, self.offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            found => Ok(found? == self.checksum),
        }
    }
}

fn checksum_before(file: &File, offset: u64) -> io::Result<u32> {
    let start = offset.saturating_sub(MARK_BYTES as u64);
    let mut bytes = [0; MARK_BYTES];
    let bytes = &mut bytes[..(offset - start) as usize];
    file.read_exact_at(bytes, start)?;
    Ok(crc32c::crc32c(bytes))
}

/// The orders file and the place in it.
#[derive(Debug)]
pub(super) struct Orders {
    path: PathBuf,
    file: File,
    /// Where the first line begins that is not done with.
    offset: u64,
    /// That place, or one before it.
    mark: Mark,
    /// What was read from `offset` on: lines not handed over yet, and the beginning of one that has no end yet.
    buffer: Vec<u8>,
    /// Bytes of a too long line that are left out of the buffer, behind its first `LINE_BYTES_MAX`.
    omitted: u64,
    ahead: Ahead,
}

/// Lines that wait in the file: counted by reading ahead, as far as `end`.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    lines: u64,
    end: u64,
    /// Length of the file when it was last looked at.
    file_len: u64,
}

impl Orders {
    /// Opens the file, or creates an empty one, and goes on at `mark`, or at the beginning where that is not in the file.
    pub(super) fn open(path: &Path, mark: Mark) -> Result<Self, SpoolError> {
        let file = open(path).map_err(SpoolError::at(path))?;
        let ahead = Ahead { end: mark.offset, ..Ahead::default() };
        let (path, offset) = (path.to_owned(), mark.offset);
        let mut orders = Self { path, file, offset, mark, buffer: Vec::new(), omitted: 0, ahead };
        // Codes of earlier orders are not remembered: those that were taken before are made again.
        orders.check_mark(Level::Warn).map_err(SpoolError::at(&orders.path))?;
        Ok(orders)
    }

    /// The first line that is not done with.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Whole lines that are not done with; `None` while there are more than could be counted yet.
    pub(super) fn lag(&self) -> Option<u64> {
        (self.ahead.end >= self.ahead.file_len).then_some(self.ahead.lines)
    }

    /// Hands over at most `orders_max` whole lines, in order.
    pub(super) fn poll(
        &mut self,
        orders_max: usize,
        orders: &mut dyn FnMut(Incoming<'_>) -> Taken,
    ) -> Result<(), SpoolError> {
        let result = self.read_lines(orders_max, orders).map_err(SpoolError::at(&self.path));
        // Where that fails the earlier mark is as good: the next poll finds what is wrong with the file.
        if self.mark.offset != self.offset
            && let Ok(checksum) = checksum_before(&self.file, self.offset)
        {
            self.mark = Mark { offset: self.offset, checksum, ..self.mark };
        }
        result
    }

    fn read_lines(&mut self, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) -> io::Result<()> {
        let mut chunks = if self.follow()? { CHUNKS_PER_POLL } else { 0 };
        let mut orders_left = orders_max;
        while self.hand_over(&mut orders_left, orders) && chunks > 0 && self.read_chunk()? > 0 {
            chunks -= 1;
        }
        self.count_ahead()
    }

    /// Hands over the lines in the buffer; false if one of them remains.
    fn hand_over(&mut self, orders_left: &mut usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) -> bool {
        let mut done = 0;
        let mut all_done = true;
        while let Some(len) = self.buffer[done..].iter().position(|&byte| byte == b'\n') {
            let line = &self.buffer[done..done + len];
            if !line.trim_ascii().is_empty() {
                let position = Position { partition: self.mark.generation, incarnation: 0, offset: self.offset as i64 };
                let payload = order_line(&line[..len.min(LINE_BYTES_MAX)]).payload;
                if *orders_left == 0 || orders(Incoming { position, payload: &payload }) == Taken::Later {
                    all_done = false;
                    break;
                }
                *orders_left -= 1;
            }
            done += len + 1;
            self.offset += len as u64 + 1 + std::mem::take(&mut self.omitted);
            if self.offset <= self.ahead.end {
                self.ahead.lines = self.ahead.lines.saturating_sub(1);
            } else {
                self.ahead.end = self.offset;
            }
        }
        self.buffer.drain(..done);
        all_done
    }

    /// Where the file is to be read on.
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64 + self.omitted
    }

    fn read_chunk(&mut self) -> io::Result<usize> {
        if let Some(excess) = self.buffer.len().checked_sub(LINE_BYTES_MAX) {
            self.buffer.truncate(LINE_BYTES_MAX);
            self.omitted += excess as u64;
        }
        let (end, len) = (self.end(), self.buffer.len());
        self.buffer.resize(len + CHUNK_BYTES, 0);
        let read = self.file.read_at(&mut self.buffer[len..], end);
        self.buffer.truncate(len + read.as_ref().map_or(0, |&read| read));
        read
    }

    /// Sees whether there is more to read, in this file or in one that has taken its place once this one is read to its end.
    fn follow(&mut self) -> io::Result<bool> {
        let opened = self.file.metadata()?;
        self.ahead.file_len = opened.len();
        if self.buffer.contains(&b'\n') {
            return Ok(false);
        }
        let in_place = fs::metadata(&self.path).is_ok_and(|found| is_same(&found, &opened));
        if in_place && opened.len() == self.end() {
            return Ok(false);
        }
        if !in_place && opened.len() <= self.end() {
            self.file = open(&self.path)?;
            self.start_at(self.offset);
        }
        self.check_mark(Level::Info)?;
        Ok(true)
    }

    /// Goes back to the beginning if the file is not the one that was read so far.
    fn check_mark(&mut self, level: Level) -> io::Result<()> {
        self.ahead.file_len = self.file.metadata()?.len();
        if self.ahead.file_len < self.end() || !self.mark.stands_in(&self.file)? {
            let path = self.path.display();
            log::log!(level, "{path}: not what was read so far; its orders are read from the beginning");
            self.mark = Mark { generation: self.mark.generation.wrapping_add(1), ..Mark::default() };
            self.start_at(0);
        }
        Ok(())
    }

    fn start_at(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        self.omitted = 0;
        self.ahead = Ahead { lines: 0, end: offset, file_len: self.ahead.file_len };
    }

    fn count_ahead(&mut self) -> io::Result<()> {
        let mut chunk = [0; COUNT_BYTES];
        for _ in 0..COUNTS_PER_POLL {
            if self.ahead.end >= self.ahead.file_len {
                break;
            }
            let read = self.file.read_at(&mut chunk, self.ahead.end)?;
            self.ahead.lines += newlines(&chunk[..read]);
            self.ahead.end += read as u64;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}
