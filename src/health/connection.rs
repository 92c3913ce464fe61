//! One client's connection: a small state machine that reads a request, writes the answer, and never waits.
//!
//! ```text
//! Serving ──answer with keep-alive──> Serving
//!    │
//!    └─answer without─> Answering ──all written──> Draining ──client has closed──> closed
//! ```
//!
//! Whatever the state, the connection is closed at its deadline.

use super::http::{self, HEAD_BYTES_MAX, Request, Response, Status};
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Time for a request to come in and its answer to be taken, however slowly the bytes trickle; also how long a connection that
/// is kept alive may say nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes taken from the socket in one step.
const READ_BYTES_MAX: usize = 2048;

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Its address.
    pub(super) client: IpAddr,
    /// When it is closed, whatever it does.
    pub(super) deadline: Instant,
    /// Whether a step may get further.
    pub(super) ready: bool,
    state: State,
    /// Received and not yet answered, at most [`HEAD_BYTES_MAX`].
    input: Vec<u8>,
    /// The answer, of which `written` bytes have left. There is one at a time.
    output: Vec<u8>,
    written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    /// The answer that is being written is the last one.
    Answering,
    /// Everything is said. What the client still sends is thrown away: closing at once would reset the connection, and the
    /// answer with it (RFC 9112, 9.6).
    Draining,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    /// There may be more to do at once.
    Again,
    /// Nothing to do until the socket is ready.
    Wait,
    /// The connection is over.
    Close,
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn new(stream: TcpStream, client: IpAddr, now: Instant) -> Self {
        Self {
            stream,
            client,
            deadline: now + REQUEST_TIMEOUT,
            ready: true,
            state: State::Serving,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
        }
    }

    /// How long ago it was accepted, or answered last.
    pub(super) fn age(&self, now: Instant) -> Duration {
        (now + REQUEST_TIMEOUT).saturating_duration_since(self.deadline)
    }

    /// The socket, to register it.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Does one bounded piece of work: writes what can be written, answers one request, or reads once.
    pub(super) fn step(&mut self, now: Instant, date: OffsetDateTime, answer: impl FnOnce(&Request) -> Response) -> Step {
        let done = if self.written < self.output.len() {
            self.write(now)
        } else if self.state == State::Serving {
            match http::parse(&self.input) {
                Ok(Some(request)) => {
                    self.input.drain(..request.head_len);
                    self.queue(date, &answer(&request), request.keep_alive, request.method == "HEAD");
                    Ok(Step::Again)
                }
                Ok(None) => self.read(),
                Err(status) => {
                    self.queue(date, &refusal(status), false, false);
                    Ok(Step::Again)
                }
            }
        } else {
            self.read()
        };
        match done {
            Ok(step) => step,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Wait,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Again,
            Err(_) => Step::Close,
        }
    }

    fn queue(&mut self, date: OffsetDateTime, response: &Response, keep_alive: bool, head_only: bool) {
        response.encode(date, keep_alive, head_only, &mut self.output);
        if !keep_alive {
            self.state = State::Answering;
        }
    }

    fn write(&mut self, now: Instant) -> io::Result<Step> {
        self.written += self.stream.write(&self.output[self.written..])?;
        if self.written == self.output.len() {
            // Kept-alive connections are many and mostly idle: they keep no buffer.
            self.output = Vec::new();
            self.written = 0;
            self.deadline = now + REQUEST_TIMEOUT;
            if self.state == State::Answering {
                self.stream.shutdown(Shutdown::Write)?;
                self.state = State::Draining;
                self.input = Vec::new();
            }
        }
        Ok(Step::Again)
    }

    fn read(&mut self) -> io::Result<Step> {
        let mut chunk = [0; READ_BYTES_MAX];
        let len_max = READ_BYTES_MAX.min(HEAD_BYTES_MAX - self.input.len());
        let len = self.stream.read(&mut chunk[..len_max])?;
        if len == 0 {
            return Ok(Step::Close);
        }
        if self.state == State::Serving {
            self.input.extend_from_slice(&chunk[..len]);
        }
        Ok(Step::Again)
    }
}

fn refusal(status: Status) -> Response {
    let error = match status {
        Status::HEAD_TOO_LARGE => "the request head is too long",
        _ => "this is no HTTP/1.1 request",
    };
    Response::error(status, error)
}
