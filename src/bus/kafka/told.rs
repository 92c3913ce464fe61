//! What people are told of a trouble: in the log when it begins and when it is over, and on the health page while it lasts.

use kafka_protocol::error::ResponseError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time in which one thing's troubles may begin so often in the log; more is noise, whatever a broker does.
const WINDOW: Duration = Duration::from_secs(60);
const BEGINNINGS_MAX: u32 = 4;

/// What time mends is no trouble before it has lasted so long: partitions find a new leader in a few seconds.
pub(super) const LASTING: Duration = Duration::from_secs(10);

/// Whether what began at `since` is trouble by now. While no broker was connected, nothing could mend it.
pub(super) fn has_lasted(since: Instant, connected_since: Instant, now: Instant) -> bool {
    since.max(connected_since) + LASTING <= now
}

/// An error code for people.
pub(super) fn describe(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        Some(ResponseError::InvalidTimestamp) => "timestamps too far from the broker's clock; see the topic's \
             message.timestamp.after.max.ms and message.timestamp.before.max.ms"
            .into(),
        Some(error) => format!("{error:?} ({code})"),
        None => "no error".into(),
    }
}

/// The code under which people know a trouble: a topic that is away is so by its name and, from Kafka 2.8 on, by its id.
pub(super) fn known_as(code: i16) -> i16 {
    match ResponseError::try_from_code(code) {
        Some(ResponseError::UnknownTopicId) => ResponseError::UnknownTopicOrPartition.code(),
        _ => code,
    }
}

/// Whether time may mend what a code says. An error that the broker itself does not know (-1) may pass, as may one unknown here.
pub(super) fn may_pass(code: i16) -> bool {
    let passes = |error: ResponseError| error.is_retriable() || error == ResponseError::UnknownServerError;
    ResponseError::try_from_code(code).is_none_or(passes)
}

/// Whether the log has been told of a thing's trouble, of kind `K`.
#[derive(Debug)]
pub struct Told<K> {
    since: Option<Instant>,
    kind: Option<K>,
    window_ends: Option<Instant>,
    beginnings: u32,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self { since: None, kind: None, window_ends: None, beginnings: 0 }
    }
}

impl<K: PartialEq> Told<K> {
    /// There is trouble of this kind. True when the log should say so: it has not yet, and not too often of late.
    #[must_use]
    pub fn begins(&mut self, kind: K, now: Instant) -> bool {
        self.since.get_or_insert(now);
        if self.kind.as_ref() == Some(&kind) {
            return false;
        }
        if !self.is_within_window(now) {
            self.window_ends = Some(now + WINDOW);
            self.beginnings = 0;
        }
        let may = self.beginnings < BEGINNINGS_MAX;
        if may {
            self.beginnings += 1;
            self.kind = Some(kind);
        }
        may
    }

    /// It is over: how long it lasted, if the log was told that it began.
    #[must_use]
    pub fn ends(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        self.kind.take().map(|_| now.saturating_duration_since(since))
    }

    /// When the trouble that there is began.
    #[must_use]
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// What the log was told of the trouble that there is.
    #[must_use]
    pub const fn kind(&self) -> Option<&K> {
        self.kind.as_ref()
    }

    /// Whether there is trouble, said or not.
    #[must_use]
    pub const fn is_in_trouble(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it may be forgotten: there is no trouble, nor was any of late.
    #[must_use]
    pub fn is_forgettable(&self, now: Instant) -> bool {
        self.since.is_none() && !self.is_within_window(now)
    }

    fn is_within_window(&self, now: Instant) -> bool {
        self.window_ends.is_some_and(|ends| ends > now)
    }
}

/// What the health page shows: a reason that is written anew only when what it is written from has changed.
#[derive(Debug)]
pub struct Shown<C> {
    cause: Option<C>,
    trouble: Option<Arc<str>>,
}

impl<C> Default for Shown<C> {
    fn default() -> Self {
        Self { cause: None, trouble: None }
    }
}

impl<C: PartialEq> Shown<C> {
    /// Shows the cause, if there is one.
    pub fn show(&mut self, cause: Option<C>, reason: impl FnOnce(&C) -> String) {
        if self.cause != cause {
            self.trouble = cause.as_ref().map(|cause| reason(cause).into());
            self.cause = cause;
        }
    }

    /// What is shown.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Arc<str>> {
        self.trouble.as_ref()
    }
}
