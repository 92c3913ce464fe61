//! The batches of one partition, oldest first, and the sequence numbers they are sent under.
//!
//! ```text
//!  append ──► open ──full, or lingered──► waiting ──send──► in flight ──acknowledged──► gone
//!                                           ▲                  │
//!                                           └── failed ────────┘   nothing is sent until all in flight are home, then from the oldest
//! ```
//!
//! A batch whose answer was lost is looked for in the log (see [`search`](super::search)), and sent again where it is not there. It
//! bears the same sequence number then, so a broker that remembers the producer drops it if it came meanwhile. Where the broker
//! cannot go on from the number it is sent (it has lost records, or a batch before was refused for good), that batch and those
//! behind it are *cut off*: they are not in the log, and are sent under a new epoch, from 0 on (KIP-360). What lies before the cut
//! keeps its number and goes first.

use super::super::batch::{Record, Sealed, Stamp, Writer, advance};
use super::super::connection::Ticket;
use super::super::inflate::Codec;
use super::super::pool::Pool;
use super::super::told::{has_lasted, known_as};
use super::cause::Cause;
use super::place::{Place, Question};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

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
    /// The leader, and since when there is a connection to it.
    connection: Option<(i32, Instant)>,
    /// Whether a batch of this identity was taken over it, and none has failed since.
    is_known: bool,
    place: Place,
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
    /// Notes since when there is a connection to the leader: one that has restarted may know no producer.
    pub(super) fn follow(&mut self, connected_since: Option<Instant>) {
        let connection = self.leader.zip(connected_since);
        self.is_known &= self.connection == connection;
        self.connection = connection;
    }

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
        let is_placed = self.in_flight > 0 || self.place.is_known(now);
        // A broker that does not know the producer takes any sequence number first: were the first batch refused and the second
        // not, they would change places.
        let window = if self.is_known { in_flight_max as u64 } else { 1 };
        // Counted from the oldest, whose fate may be unknown: the broker would not recognise it behind more batches than that.
        let oldest = self.batches.front().map_or(ordinal, |batch| batch.ordinal);
        !resting && !elsewhere && is_placed && ordinal - oldest < window
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
            self.is_known = false;
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

    /// The broker has the batch of this ticket, from `offset` on where it says so.
    pub(super) fn acknowledged(&mut self, ticket: Ticket, offset: Option<i64>, now: Instant) -> Option<Sealed> {
        let index = self.position(ticket)?;
        let taken = self.take(index, now)?;
        self.is_known = true;
        if let Some(offset) = offset {
            self.place.taken(offset.saturating_add(i64::from(taken.records())), now);
        }
        Some(taken)
    }

    fn take(&mut self, index: usize, now: Instant) -> Option<Sealed> {
        self.failures = 0;
        self.retry_at = None;
        self.problem = None;
        let taken = self.batches.remove(index)?.sealed;
        self.get_on(now);
        Some(taken)
    }

    /// A batch has left: those in flight are counted, and the next is waited for.
    fn get_on(&mut self, now: Instant) {
        self.come_home();
        self.waiting_since = Some(now).filter(|_| self.has_records());
    }

    fn has_records(&self) -> bool {
        self.open.is_some() || !self.batches.is_empty()
    }

    /// It is to be sent again, not before `retry_at`. `in_doubt`: the broker may have it.
    pub(super) fn failed(&mut self, ticket: Ticket, in_doubt: bool, retry_at: Instant) {
        self.retry_at = Some(retry_at);
        self.is_known = false;
        let Some(index) = self.position(ticket) else { return };
        let batch = &mut self.batches[index];
        batch.ticket = None;
        if batch.cut_off {
            batch.sealed.unstamp();
            batch.cut_off = false;
        } else if in_doubt {
            self.place.doubt();
        }
        self.recovering = true;
        self.come_home();
    }

    // ---- the log ---------------------------------------------------------------------------------------------------

    /// What the leader is to be asked of the log now.
    pub(super) fn question(&self, now: Instant) -> Option<Question> {
        let resting = self.retry_at.is_some_and(|at| at > now);
        let may = self.in_flight == 0 && !resting && self.has_records();
        if may { self.place.question(now) } else { None }
    }

    pub(super) const fn asked(&mut self) {
        self.place.asked();
    }

    /// What was to be read is no longer there.
    pub(super) const fn lose_place(&mut self) {
        self.place.lose();
    }

    /// The log begins at `start`. True when what was to be read has been deleted.
    pub(super) fn begins_at(&mut self, start: i64, now: Instant) -> bool {
        self.place.begins_at(start, now)
    }

    /// The log ends at `end`. A producer that has been silent for long may be forgotten.
    pub(super) fn ends_at(&mut self, end: i64, now: Instant) {
        self.is_known = false;
        self.place.ends_at(end, now);
    }

    /// Takes the batch of this stamp, which is in the log.
    pub(super) fn found(&mut self, stamp: Stamp, now: Instant) -> Option<Sealed> {
        let index = self.batches.iter().position(|batch| batch.ticket.is_none() && batch.sealed.stamp() == Some(stamp))?;
        self.take(index, now)
    }

    /// The log has been looked at up to `next`. False when there was nothing.
    pub(super) fn read_to(&mut self, next: i64, now: Instant) -> bool {
        self.place.read_to(next, now)
    }

    /// The answer about the log was of no use: it is asked for anew, not before `retry_at`.
    pub(super) fn ask_anew(&mut self, retry_at: Instant) {
        self.retry_at = Some(retry_at);
        self.place.ask_anew();
    }

    /// Nothing can be found out about the log.
    pub(super) const fn give_up_search(&mut self, now: Instant) {
        self.place.give_up(now);
    }

    // ---- what cannot be sent as it is ------------------------------------------------------------------------------

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
        let index = self.position(ticket)?;
        let taken = self.batches.remove(index)?.sealed;
        self.get_on(now);
        Some(taken)
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

    /// Since when the oldest record, or those before it, have been waited for.
    pub(super) const fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// When [`Self::sendable`] and [`Self::question`] may change their mind by time alone.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.has_records())
    }
}
