//! The external API: each telemetry record is POSTed to it, from one thread behind a bounded queue.
//!
//! The caller never waits. What the API does not take in time is lost, oldest first, and counted.

use crate::bus::kafka::backoff::Backoff;
use crate::clock;
use crate::health::snapshot::ApiCounts;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, select_biased};
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderValue, Uri};

/// Most bytes read of an answer's body. A longer one costs the connection, not memory.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Limits of the sender.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Records that wait; a further one pushes out the oldest.
    pub queue_records_max: usize,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole request, from name lookup to the end of the answer.
    pub request_timeout: Duration,
    /// How often a record is tried before it is given up.
    pub tries_max: u32,
    /// Pause after a failure; each further one in a row doubles it.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_records_max: 1_000,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            tries_max: 4,
            pause_min: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// Hands records to the thread. Dropping it ends the thread after the request it is at.
#[derive(Debug)]
pub struct ApiSender {
    queue: Sender<Box<[u8]>>,
    /// The same queue's other end, to make room in it.
    oldest: Receiver<Box<[u8]>>,
    accepted: u64,
    dropped: u64,
    answered: Arc<Answered>,
    /// Its end tells the thread to leave the rest of the queue.
    _stop: Sender<Infallible>,
    /// Its end tells that the thread has left.
    left: Receiver<Infallible>,
}

/// What the thread has done with records.
#[derive(Debug, Default)]
struct Answered {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl ApiSender {
    /// Starts the thread, which posts to `target` with `key` as `X-API-Key`. Nothing is connected before there is a record.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(target: Uri, key: Option<HeaderValue>, limits: &Limits) -> io::Result<Self> {
        let (queue, oldest) = bounded(limits.queue_records_max);
        let (stop, stopped) = bounded(0);
        let (leaving, left) = bounded(0);
        let answered = Arc::new(Answered::default());
        let mut worker = Worker {
            agent: agent(limits),
            target,
            key,
            tries_max: limits.tries_max,
            stopped,
            answered: Arc::clone(&answered),
            failures: 0,
            is_away: false,
            backoff: Backoff::new(limits.pause_min, limits.pause_max, clock::wall_ms() as u64),
        };
        let records = oldest.clone();
        thread::Builder::new().name("api".to_owned()).spawn(move || {
            let _leaving: Sender<Infallible> = leaving;
            worker.run(&records);
        })?;
        Ok(Self { queue, oldest, accepted: 0, dropped: 0, answered, _stop: stop, left })
    }

    /// Queues a telemetry record. Never waits: when the queue is full, the oldest record in it is dropped and counted.
    pub fn send(&mut self, telemetry_json: &[u8]) {
        self.accepted += 1;
        if let Err(TrySendError::Full(record)) = self.queue.try_send(telemetry_json.into()) {
            // The thread may have taken one meanwhile; either way there is room now, as nobody else sends.
            self.dropped += u64::from(self.oldest.try_recv().is_ok());
            self.dropped += u64::from(self.queue.try_send(record).is_err());
        }
    }

    /// What has become of the records.
    #[must_use]
    pub fn counts(&self) -> ApiCounts {
        let sent = self.answered.sent.load(Ordering::Relaxed);
        let failed = self.answered.failed.load(Ordering::Relaxed);
        let queued = self.accepted.saturating_sub(sent + failed + self.dropped);
        ApiCounts { sent, failed, dropped: self.dropped, queued }
    }

    /// Sends what still waits, for at most `wait`. `queued` of the counts is what was left unsent.
    #[must_use]
    pub fn close(mut self, wait: Duration) -> ApiCounts {
        // Without a sender the queue ends, and the thread with it.
        let (no_more, _) = bounded(0);
        self.queue = no_more;
        let _ = self.left.recv_timeout(wait);
        self.counts()
    }
}

fn agent(limits: &Limits) -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(limits.connect_timeout))
        .timeout_global(Some(limits.request_timeout))
        // A redirect would carry the key to wherever the answer says.
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// What the thread owns.
struct Worker {
    agent: Agent,
    target: Uri,
    key: Option<HeaderValue>,
    tries_max: u32,
    stopped: Receiver<Infallible>,
    answered: Arc<Answered>,
    /// Failures in a row that may pass.
    failures: u32,
    /// Whether the log has said that the API is away.
    is_away: bool,
    backoff: Backoff,
}

/// What the API says to a record.
enum Answer {
    Taken,
    /// The same record would be refused again.
    Refused(String),
    /// It may be taken later.
    Later(String),
}

/// The sender is gone.
struct Stopped;

impl Worker {
    fn run(&mut self, records: &Receiver<Box<[u8]>>) {
        loop {
            let record = select_biased! {
                recv(self.stopped) -> _ => return,
                recv(records) -> record => record,
            };
            let Ok(record) = record else { return };
            let Ok(answer) = self.deliver(&record) else { return };
            self.count(answer);
        }
    }

    /// Tries until the record is taken, refused, or tried too often.
    fn deliver(&mut self, record: &[u8]) -> Result<Answer, Stopped> {
        let mut tries = 1;
        loop {
            let answer = self.post(record);
            match answer {
                Answer::Taken | Answer::Refused(_) => {
                    self.failures = 0;
                    self.note(None);
                    return Ok(answer);
                }
                Answer::Later(ref reason) => {
                    self.note(Some(reason));
                    self.pause()?;
                    if tries == self.tries_max {
                        return Ok(answer);
                    }
                    tries += 1;
                }
            }
        }
    }

    fn post(&self, record: &[u8]) -> Answer {
        let mut request = self.agent.post(&self.target).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        let mut response = match request.send(record) {
            Ok(response) => response,
            Err(error) => return Answer::Later(error.to_string()),
        };
        // A connection is used again only when its answer was read to the end.
        let _ = io::copy(&mut response.body_mut().as_reader().take(ANSWER_BYTES_MAX), &mut io::sink());
        let status = response.status();
        let says = || format!("it answers {status}");
        match status.as_u16() {
            200..300 => Answer::Taken,
            400 | 413 | 422 => Answer::Refused(says()),
            _ => Answer::Later(says()),
        }
    }

    fn pause(&mut self) -> Result<(), Stopped> {
        self.failures += 1;
        match self.stopped.recv_timeout(self.backoff.delay(self.failures)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        }
    }

    /// Says once that the API is away, by the reason of the first failure, and once that it is back.
    fn note(&mut self, away: Option<&str>) {
        match (away, self.is_away) {
            (Some(reason), false) => log::warn!("api: {} does not take telemetry: {reason}", self.target),
            (None, true) => log::info!("api: {} takes telemetry again", self.target),
            _ => return,
        }
        self.is_away = away.is_some();
    }

    fn count(&mut self, answer: Answer) {
        let counter = match answer {
            Answer::Taken => &self.answered.sent,
            Answer::Refused(reason) => {
                // Said once: what refuses one record for what it is refuses many.
                if self.answered.failed.load(Ordering::Relaxed) == 0 {
                    log::warn!("api: {} refuses a record: {reason}", self.target);
                }
                &self.answered.failed
            }
            Answer::Later(_) => &self.answered.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
