//! The batches of one partition, oldest first, and the sequence numbers they are sent under.
//!
//! ```text
//!  append ──► open ──full, or lingered──► waiting ──send──► in flight ──acknowledged──► gone
//!                                           ▲                  │
//!                                           └── failed ────────┘   nothing is sent until all in flight are home, then from the oldest
//! ```
//!
//! A batch that is sent again bears the same sequence number, so the broker drops it if it has it. Where the broker cannot go on
//! from the number it is sent (it has lost records, or a batch before was refused for good), that batch and those behind it are
//! *cut off*: they are not in the log, and are sent under a new epoch, from 0 on (KIP-360). What lies before the cut keeps its
//! number and goes first.

use super::super::batch::{Record, Sealed, Stamp, Writer, advance};
use super::super::connection::Ticket;
use super::super::inflate::Codec;
use super::super::pool::Pool;
use super::super::told::{has_lasted, known_as};
use super::topic::Cause;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For how long at least a broker remembers a producer that is silent (`producer.id.expiration.ms`, a day by default).
const REMEMBERED: Duration = Duration::from_secs(600);

/// A producer's id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The broker that leads it.
    pub(super) leader: Option<i32>,
    open: Option<(Writer, Instant)>,
    batches: VecDeque<Batch>,
    next_ordinal: u64,
    /// Whom it sends as; `None`: sequence numbers begin anew with the producer's present identity.
    identity: Option<Identity>,
    next_sequence: i32,
    /// When the broker last took a batch of this identity.
    known_at: Option<Instant>,
    /// Where those in flight were sent to.
    sent_to: i32,
    in_flight: usize,
    recovering: bool,
    retry_at: Option<Instant>,
    failures: u32,
    /// Since when the oldest record, or those before it, have been waited for.
    waiting_since: Option<Instant>,
    /// What the broker said of the last batch, until it takes one.
    problem: Option<Problem>,
}

/// What the broker has against a batch.
#[derive(Clone, Copy, Debug)]
struct Problem {
    code: i16,
    /// Time alone does not mend it.
    is_lasting: bool,
}

#[derive(Debug)]
struct Batch {
    sealed: Sealed,
    /// Its place among all batches of the partition.
    ordinal: u64,
    ticket: Option<Ticket>,
    cut_off: bool,
}

impl Partition {
    /// Takes a record if the open batch has room for it, or begins one.
    pub(super) fn append(&mut self, record: &Record<'_>, now: Instant, pool: &mut Pool) -> usize {
        self.waiting_since.get_or_insert(now);
        let (writer, _) = self.open.get_or_insert_with(|| (Writer::new(pool.take()), now));
        let before = if writer.is_empty() { 0 } else { writer.len() };
        writer.append(record);
        writer.len() - before
    }

    /// Bytes in the open batch, if there is one.
    pub(super) fn open_bytes(&self) -> Option<usize> {
        self.open.as_ref().map(|(writer, _)| writer.len())
    }

    /// When the open batch was begun.
    pub(super) fn opened(&self) -> Option<Instant> {
        self.open.as_ref().map(|(_, opened)| *opened)
    }

    /// Whether a batch that is ended now could be sent at once.
    pub(super) fn is_idle(&self, now: Instant, in_flight_max: usize) -> bool {
        self.batches.len() == self.in_flight && self.may_send(self.next_ordinal, now, in_flight_max)
    }

    /// Whether nothing is in the way of the batch of this ordinal but those before it.
    fn may_send(&self, ordinal: u64, now: Instant, in_flight_max: usize) -> bool {
        let resting = self.recovering || self.retry_at.is_some_and(|at| at > now);
        let elsewhere = self.in_flight > 0 && self.leader != Some(self.sent_to);
        // A broker that does not know the producer takes any sequence number first: were the first batch refused and the second
        // not, they would change places.
        let is_known = self.known_at.is_some_and(|at| at + REMEMBERED > now);
        let window = if is_known { in_flight_max as u64 } else { 1 };
        // Counted from the oldest, whose fate may be unknown: the broker would not recognise it behind more batches than that.
        let oldest = self.batches.front().map_or(ordinal, |batch| batch.ordinal);
        !resting && !elsewhere && ordinal - oldest < window
    }

    /// Ends the open batch. Gives by how many bytes it shrank.
    pub(super) fn seal(&mut self, codec: Codec, pool: &mut Pool) -> usize {
        let Some((writer, _)) = self.open.take() else { return 0 };
        let before = writer.len();
        let sealed = writer.seal(codec, pool);
        let shrunk = before - sealed.len();
        self.batches.push_back(Batch { sealed, ordinal: self.next_ordinal, ticket: None, cut_off: false });
        self.next_ordinal += 1;
        shrunk
    }

    /// Size of the next batch, if it may be sent to the leader now.
    pub(super) fn sendable(&self, now: Instant, in_flight_max: usize) -> Option<usize> {
        let next = self.batches.get(self.in_flight)?;
        // Numbers begin anew only when no batch under the old ones is left.
        let blocked = next.sealed.stamp().is_none() && self.identity.is_none() && self.has_stamped();
        let may = !blocked && self.may_send(next.ordinal, now, in_flight_max);
        may.then(|| next.sealed.len())
    }

    /// The next batch's bytes, under the right stamp; [`Self::sendable`] said yes.
    pub(super) fn next_bytes(&mut self, current: Identity) -> Option<Bytes> {
        if self.identity != Some(current) && !self.has_stamped() {
            self.identity = Some(current);
            self.next_sequence = 0;
            self.known_at = None;
        }
        let sealed = &mut self.batches.get_mut(self.in_flight)?.sealed;
        let stamp = match (sealed.stamp(), self.identity) {
            (Some(stamp), _) => stamp,
            (None, None) => return None,
            (None, Some(identity)) => {
                let sequence = self.next_sequence;
                self.next_sequence = advance(sequence, sealed.records());
                Stamp { producer_id: identity.id, producer_epoch: identity.epoch, sequence }
            }
        };
        Some(sealed.stamped(stamp))
    }

    fn has_stamped(&self) -> bool {
        self.batches.iter().any(|batch| batch.sealed.stamp().is_some())
    }

    /// The batch of [`Self::next_bytes`] is on its way.
    pub(super) fn sent(&mut self, ticket: Ticket, to: i32) {
        if let Some(batch) = self.batches.get_mut(self.in_flight) {
            batch.ticket = Some(ticket);
            self.in_flight += 1;
            self.sent_to = to;
        }
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.batches.iter().position(|batch| batch.ticket == Some(ticket))
    }

    /// Whether the batch of this ticket is the oldest of all.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        self.position(ticket) == Some(0)
    }

    /// The broker has the batch.
    pub(super) fn acknowledged(&mut self, ticket: Ticket, now: Instant) -> Option<Sealed> {
        self.known_at = Some(now);
        self.failures = 0;
        self.retry_at = None;
        self.problem = None;
        let taken = self.remove(ticket);
        self.get_on(now);
        taken
    }

    /// A batch has left: those in flight are counted, and the next is waited for.
    fn get_on(&mut self, now: Instant) {
        self.come_home();
        let is_empty = self.open.is_none() && self.batches.is_empty();
        self.waiting_since = Some(now).filter(|_| !is_empty);
    }

    /// It is to be sent again, not before `retry_at`.
    pub(super) fn failed(&mut self, ticket: Ticket, retry_at: Instant) {
        self.retry_at = Some(retry_at);
        let Some(index) = self.position(ticket) else { return };
        let batch = &mut self.batches[index];
        batch.ticket = None;
        if batch.cut_off {
            batch.sealed.unstamp();
            batch.cut_off = false;
        }
        self.recovering = true;
        self.come_home();
    }

    /// It, and those behind it, are not in the log and cannot come there under their present stamps.
    pub(super) fn cut_off(&mut self, ticket: Ticket) {
        let Some(index) = self.position(ticket) else { return };
        for batch in self.batches.range_mut(index..) {
            match batch.ticket {
                Some(_) => batch.cut_off = true,
                None => batch.sealed.unstamp(),
            }
        }
        self.identity = None;
    }

    /// The broker will never take the batch; those behind it are cut off.
    pub(super) fn refused(&mut self, ticket: Ticket, now: Instant) -> Option<Sealed> {
        self.cut_off(ticket);
        self.recovering = true;
        let taken = self.remove(ticket);
        self.get_on(now);
        taken
    }

    /// Puts two batches in the place of one that is too large, to be sent once all those in flight are home; those behind it
    /// come back as out of order. Gives the one that was, and the size of the two. `None`: it is a single record.
    pub(super) fn split(&mut self, ticket: Ticket, codec: Codec, pool: &mut Pool) -> Option<(Sealed, usize)> {
        let index = self.position(ticket)?;
        let halves = self.batches[index].sealed.split(codec, pool)?;
        let size = halves.iter().map(Sealed::len).sum();
        let whole = self.batches.remove(index)?;
        self.batches.range_mut(index..).for_each(|batch| batch.ordinal += 1);
        self.next_ordinal += 1;
        for (n, mut sealed) in halves.into_iter().enumerate() {
            if whole.cut_off {
                sealed.unstamp();
            }
            let ordinal = whole.ordinal + n as u64;
            self.batches.insert(index + n, Batch { sealed, ordinal, ticket: None, cut_off: false });
        }
        self.recovering = true;
        self.come_home();
        Some((whole.sealed, size))
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Sealed> {
        let index = self.position(ticket)?;
        self.batches.remove(index).map(|batch| batch.sealed)
    }

    /// Counts those in flight; once all are home, sending begins again with the oldest.
    fn come_home(&mut self) {
        let in_flight = self.batches.iter().filter(|batch| batch.ticket.is_some()).count();
        self.in_flight = in_flight;
        self.recovering &= in_flight > 0;
    }

    /// Counts a failure, with its error code if it has one.
    pub(super) fn note(&mut self, code: Option<i16>, is_lasting: bool) {
        self.failures = self.failures.saturating_add(1);
        self.problem = code.map(|code| Problem { code: known_as(code), is_lasting }).or(self.problem);
    }

    /// Why it gets on no further, if that is so. A broker that moves a partition, or has just started, refuses for a moment:
    /// that is none. `connected_since` is when any broker was, and `leader_since` its leader.
    pub(super) fn trouble(
        &self,
        now: Instant,
        connected_since: Instant,
        leader_since: impl FnOnce(i32) -> Option<Instant>,
    ) -> Option<Cause> {
        if let Some(Problem { code, is_lasting: true }) = self.problem {
            return Some(Cause::Code(code));
        }
        let (since, cause) = match self.leader.map(|leader| (leader, leader_since(leader))) {
            None => (connected_since, Some(Cause::Leaderless)),
            Some((leader, None)) => (connected_since, Some(Cause::Away(leader))),
            // One that says nothing is the cluster's matter.
            Some((_, Some(since))) => (since, self.problem.map(|problem| Cause::Code(problem.code))),
        };
        cause.filter(|_| self.waiting_since.is_some_and(|waiting| has_lasted(waiting, since, now)))
    }

    /// Failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// When [`Self::sendable`] may change its mind by time alone.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.batches.is_empty())
    }
}
