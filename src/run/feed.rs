//! Orders that do not come over the bus: a file of them, or the built-in demo. Each has its simulated instant of arrival.

use crate::bus::Position;
use crate::error::{Exit, Failure};
use crate::factory::plan::Plan;
use crate::orders::Generator;
use crate::units::{SimTime, Span};
use crate::wire::{ORDER_BYTES_MAX, order_line, parse_order};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// Orders that are read ahead to bring them into the order of their instants: so far may a file be out of order.
const AHEAD_MAX: usize = 65_536;
/// Bytes that those may take.
const AHEAD_BYTES_MAX: usize = 16 << 20;
/// Lines that may wait between the thread that reads standard input and the loop.
const CHANNEL_LINES: usize = 1_024;
/// Lots that the demo starts with, so that there is something to see at once.
const DEMO_FIRST_LOTS: u32 = 6;
/// How busy the demo keeps the plants unless told otherwise.
const DEMO_LOAD: f64 = 0.8;

/// An order waiting for its instant. The order of the fields is the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FedOrder {
    pub(super) at: SimTime,
    /// The line it stood on, from 1.
    line: i64,
    pub(super) payload: Vec<u8>,
}

impl FedOrder {
    pub(super) fn position(&self) -> Position {
        Position { partition: 0, incarnation: 0, offset: self.line }
    }
}

/// A source of orders with instants.
#[derive(Debug)]
pub(super) enum Feed {
    /// Orders come over the bus alone.
    None,
    /// `--orders`
    File(Box<OrderFile>),
    /// `--demo`
    Demo(Box<Demo>),
}

impl Feed {
    /// Reads ahead what can be read without waiting. Call it before `next_at`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn fill(&mut self, plan: &Plan) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.fill(plan),
            Self::None | Self::Demo(_) => Ok(()),
        }
    }

    /// When the next order arrives; `NEVER` when none is known.
    pub(super) fn next_at(&self) -> SimTime {
        match self {
            Self::None => SimTime::NEVER,
            Self::File(file) => file.ahead.peek().map_or(SimTime::NEVER, |Reverse(order)| order.at),
            Self::Demo(demo) => demo.next.at,
        }
    }

    /// The next order; it stays until `pop`.
    pub(super) fn peek(&self) -> Option<&FedOrder> {
        match self {
            Self::None => None,
            Self::File(file) => file.ahead.peek().map(|Reverse(order)| order),
            Self::Demo(demo) => Some(&demo.next),
        }
    }

    /// Drops the next order: it was taken.
    pub(super) fn pop(&mut self) {
        match self {
            Self::None => {}
            Self::File(file) => {
                if let Some(Reverse(order)) = file.ahead.pop() {
                    file.ahead_bytes -= order.payload.len();
                }
            }
            Self::Demo(demo) => demo.step(),
        }
    }

    /// Whether orders are still to be read that may arrive before those known (the writer of standard input is slow).
    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::File(file) if !file.ended && !file.is_full())
    }

    /// Whether every order there is has been taken.
    pub(super) fn is_done(&self) -> bool {
        self.peek().is_none() && !self.is_reading()
    }
}

/// The orders of a file or of standard input.
pub(super) struct OrderFile {
    name: String,
    lines: Lines,
    lines_read: i64,
    ended: bool,
    start: SimTime,
    ahead: BinaryHeap<Reverse<FedOrder>>,
    ahead_bytes: usize,
}

impl std::fmt::Debug for OrderFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderFile").field("name", &self.name).field("lines_read", &self.lines_read).finish_non_exhaustive()
    }
}

/// A file is read as it is needed, so that a run depends on nothing but its text. Standard input may stall: a thread reads it.
enum Lines {
    File(BufReader<File>),
    Stdin(Receiver<std::io::Result<Vec<u8>>>),
}

impl OrderFile {
    /// Opens a file of orders, `-` for standard input.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &str, start: SimTime) -> Result<Self, Failure> {
        let (name, lines) = if path == "-" {
            let name = "standard input";
            (name.to_owned(), Lines::Stdin(read_stdin().map_err(|error| cannot_read(name, &error))?))
        } else {
            let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
            (path.to_owned(), Lines::File(BufReader::new(file)))
        };
        let ahead = BinaryHeap::new();
        Ok(Self { name, lines, lines_read: 0, ended: false, start, ahead, ahead_bytes: 0 })
    }

    fn fill(&mut self, plan: &Plan) -> Result<(), Failure> {
        while !self.ended && !self.is_full() {
            let line = match &mut self.lines {
                Lines::File(reader) => read_line(reader),
                Lines::Stdin(lines) => match lines.try_recv() {
                    Ok(line) => line,
                    Err(TryRecvError::Empty) => return Ok(()),
                    Err(TryRecvError::Disconnected) => Ok(Vec::new()),
                },
            };
            let line = line.map_err(|error| cannot_read(&self.name, &error))?;
            if line.is_empty() {
                self.ended = true;
            } else {
                self.push(&line, plan);
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.ahead.len() >= AHEAD_MAX || self.ahead_bytes >= AHEAD_BYTES_MAX
    }

    fn push(&mut self, line: &[u8], plan: &Plan) {
        self.lines_read += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let payload = order_line(line).payload.into_owned();
        let placed = parse_order(&payload, plan).ok().and_then(|order| order.timestamp);
        let at = placed.map_or(self.start, |at| at.max(self.start));
        self.ahead_bytes += payload.len();
        self.ahead.push(Reverse(FedOrder { at, line: self.lines_read, payload }));
    }
}

fn cannot_read(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{name}: cannot read orders: {error}"))
}

/// Reads a line with its `\n`; empty at the end. Of a line that is longer than an order may be, enough is kept to see that.
fn read_line(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(ORDER_BYTES_MAX as u64 * 2).read_until(b'\n', &mut line)?;
    if !line.is_empty() && !line.ends_with(b"\n") {
        reader.skip_until(b'\n')?;
    }
    Ok(line)
}

fn read_stdin() -> std::io::Result<Receiver<std::io::Result<Vec<u8>>>> {
    let (sender, receiver) = bounded(CHANNEL_LINES);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let line = read_line(&mut stdin);
            let ended = !matches!(&line, Ok(line) if !line.is_empty());
            if sender.send(line).is_err() || ended {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// A built-in trickle of orders over all sites, priorities and quantities.
#[derive(Debug)]
pub(super) struct Demo {
    generator: Generator,
    start: SimTime,
    interval: Span,
    made: u32,
    next: FedOrder,
}

impl Demo {
    /// `lots_per_minute` of simulated time; `None` keeps the plants four fifths busy.
    pub(super) fn new(generator: Generator, start: SimTime, lots_per_minute: Option<f64>) -> Self {
        let lots_per_minute = lots_per_minute.unwrap_or(generator.lots_per_hour() / 60.0 * DEMO_LOAD);
        let interval = Span(((60_000.0 / lots_per_minute) as i64).max(1));
        let next = FedOrder { at: start, line: 0, payload: Vec::new() };
        let mut demo = Self { generator, start, interval, made: 0, next };
        demo.step();
        demo
    }

    fn step(&mut self) {
        let waits = i64::from(self.made.saturating_sub(DEMO_FIRST_LOTS - 1));
        let at = self.start + Span(waits.saturating_mul(self.interval.0));
        self.made += 1;
        let order = self.generator.next(at);
        self.next = FedOrder { at, line: i64::from(self.made), payload: order.json.into_bytes() };
    }
}
