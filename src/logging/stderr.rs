//! Standard error, written to by a thread of its own: a terminal that is held (Ctrl-S) or a pipe that nobody reads must not hold
//! the factory. Lines that find the queue full are dropped, and the next one that does not says how many.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, Write};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

/// Lines that may wait.
const LINES_MAX: usize = 1_024;
/// How long the last lines may take to be written at the end.
const FLUSH_MAX: Duration = Duration::from_millis(200);

/// None without a thread: lines are written at once then, as the factory will hardly start and they say why.
static QUEUE: LazyLock<Option<Sender<Message>>> = LazyLock::new(start);

enum Message {
    Line(Vec<u8>),
    /// The other end is dropped once all before it is written.
    Flush(#[expect(dead_code, reason = "it is dropped, not read")] Sender<()>),
}

fn start() -> Option<Sender<Message>> {
    let (queue, messages) = bounded(LINES_MAX);
    let thread = thread::Builder::new().name("stderr".to_owned()).spawn(move || write_all(&messages));
    thread.ok().map(|_| queue)
}

fn write_all(messages: &Receiver<Message>) {
    for message in messages {
        if let Message::Line(line) = message {
            write(&line);
        }
    }
}

fn write(line: &[u8]) {
    // Nobody is left to tell when it is closed.
    let _closed = io::stderr().write_all(line);
}

/// Collects whole lines and hands them to the thread.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    line: Vec<u8>,
    dropped: u64,
}

impl Stderr {
    fn hand_over(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let Some(queue) = &*QUEUE else { return write(&line) };
        if self.dropped > 0 {
            line.extend_from_slice(format!("({} lines before this one were dropped)\n", self.dropped).as_bytes());
        }
        match queue.try_send(Message::Line(line)) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += 1,
        }
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            self.hand_over();
        }
        Ok(bytes.len())
    }

    /// Waits a moment for what was written before.
    fn flush(&mut self) -> io::Result<()> {
        let (done, written) = bounded(0);
        if QUEUE.as_ref().is_some_and(|queue| queue.send_timeout(Message::Flush(done), FLUSH_MAX).is_ok()) {
            let _ended = written.recv_timeout(FLUSH_MAX);
        }
        Ok(())
    }
}
