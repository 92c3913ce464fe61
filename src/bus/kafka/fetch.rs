//! Reads the partitions it is told to: where to begin, one long poll in flight per leader, what came in.
//!
//! ```text
//!              Start::Absent                       leader known
//!  Unplaced ────────────────► Reset ─ ListOffsets ─► Placed ── Fetch, long poll ──► buffered ── delivered ──┐
//!      │       Start::Committed                       ▲ ▲                                                   │
//!      └──────────────────────────────────────────────┘ └──────────── room for one more response ◄─────────┘
//!                       Placed ── out of range ──► Reset
//! ```
//!
//! A partition holds two responses at most, so that the next is on its way while one is read. Fetches are full ones, without
//! sessions: a consumer of a few partitions has nothing to save there.

mod answers;
mod requests;
mod trouble;

use super::connection::Ticket;
use super::fetched::{Fetched, Place, Source, Stop, Verdict};
use super::records::{Reader, Record, RecordsError};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use trouble::{Problem, Troubles};

/// Settings of fetching; names and defaults are those of the Java client unless said otherwise.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// `auto.offset.reset`: where a partition is begun that the group has never read, or whose place is gone.
    pub from_earliest: bool,
    /// `fetch.max.wait.ms`, twice the Java client's: a record ends the wait, and one that ends without a record wakes us for nothing.
    pub max_wait: Duration,
    /// `fetch.max.bytes`, smaller than the Java client's 50 MB: two such responses per broker may lie in memory, and one must
    /// fit into [`frame_bytes_max`](super::settings::Settings::frame_bytes_max).
    pub bytes_max: i32,
    /// `max.partition.fetch.bytes`
    pub partition_bytes_max: i32,
    /// The most that a record may take when it is decompressed; a batch that holds a larger one is passed over and counted.
    pub inflated_bytes_max: usize,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            from_earliest: true,
            max_wait: Duration::from_secs(1),
            bytes_max: 4 << 20,
            partition_bytes_max: 1 << 20,
            inflated_bytes_max: 16 << 20,
        }
    }
}

/// What went wrong since the start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Refused and failed requests.
    pub errors: u64,
    /// Batches that could not be read, and were passed over.
    pub damaged_batches: u64,
    /// Places that were gone: records may have been deleted unread.
    pub lost_places: u64,
}

impl FetchCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.errors + self.damaged_batches + self.lost_places
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fetcher {
    settings: FetchSettings,
    topic: StrBytes,
    partitions: BTreeMap<i32, Partition>,
    /// How often the offsets of each partition that was ever ours have begun anew.
    incarnations: BTreeMap<i32, u32>,
    /// One long poll for each broker: which partitions from which offset.
    fetches: BTreeMap<Ticket, Fetch>,
    listings: BTreeMap<Ticket, Vec<i32>>,
    reader: Reader,
    /// The partition whose batch `reader` has open, and whose turn it is.
    turn: i32,
    counts: FetchCounts,
    troubles: Troubles,
}

#[derive(Debug)]
struct Fetch {
    broker: i32,
    from: Vec<(i32, i64)>,
}

#[derive(Debug, Default)]
struct Partition {
    place: Option<Place>,
    /// Whether the offset to begin with has to be asked for.
    reset: bool,
    /// The offset that was found to be gone.
    gone: Option<i64>,
    buffers: VecDeque<Fetched>,
    /// Offset behind everything that is buffered.
    fetch_from: i64,
    asked: bool,
    high_watermark: Option<i64>,
    /// Nothing is asked for it before.
    rest_until: Option<Instant>,
    failures: u32,
    /// Why it was not read when it was last tried.
    problem: Option<Problem>,
    /// How often the batch at `place` could not be read.
    damaged: u32,
}

/// Responses a partition may hold.
const BUFFERS_MAX: usize = 2;
/// A damaged batch may have been damaged on its way: it is fetched so often before it is passed over.
const DAMAGED_MAX: u32 = 3;
/// How long a partition rests before a damaged batch is fetched again.
const DAMAGED_REST: Duration = Duration::from_millis(100);

impl Partition {
    fn place_at(&mut self, place: Place) {
        self.buffers.clear();
        self.fetch_from = place.next;
        self.place = Some(place);
        self.reset = false;
        self.damaged = 0;
    }

    fn begin_reset(&mut self) {
        self.buffers.clear();
        self.place = None;
        self.reset = true;
    }

    /// It was answered as it should be.
    fn succeeded(&mut self) {
        self.failures = 0;
        self.problem = None;
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| until > now)
    }
}

impl Fetcher {
    pub(super) fn new(settings: FetchSettings, topic: &str) -> Self {
        let reader = Reader::new(settings.inflated_bytes_max);
        Self {
            settings,
            topic: StrBytes::from_string(topic.to_owned()),
            partitions: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            fetches: BTreeMap::new(),
            listings: BTreeMap::new(),
            reader,
            turn: 0,
            counts: FetchCounts::default(),
            troubles: Troubles::default(),
        }
    }

    pub(super) const fn counts(&self) -> FetchCounts {
        self.counts
    }

    /// Reads these partitions and no others.
    pub(super) fn assign(&mut self, assigned: &[i32]) {
        self.partitions.retain(|partition, _| assigned.contains(partition));
        if !self.partitions.contains_key(&self.turn) {
            self.reader.close();
        }
        for &partition in assigned {
            self.partitions.entry(partition).or_default();
            self.incarnations.entry(partition).or_default();
        }
    }

    /// The topic is another one of the same name: nothing is assigned, and what is still answered is about the one before.
    pub(super) fn begin_anew(&mut self) {
        self.assign(&[]);
        self.fetches.clear();
        self.listings.clear();
        self.incarnations.values_mut().for_each(|incarnation| *incarnation += 1);
    }

    /// Partitions that do not know yet where to begin.
    pub(super) fn unplaced(&self) -> Vec<i32> {
        let unplaced = self.partitions.iter().filter(|(_, partition)| partition.place.is_none() && !partition.reset);
        unplaced.map(|(&index, _)| index).collect()
    }

    pub(super) fn begin_at(&mut self, index: i32, place: Place) {
        if let Some(partition) = self.partitions.get_mut(&index) {
            partition.place_at(place);
        }
    }

    pub(super) fn begin_by_policy(&mut self, index: i32) {
        if let Some(partition) = self.partitions.get_mut(&index) {
            partition.begin_reset();
        }
    }

    pub(super) fn place(&self, index: i32) -> Option<Place> {
        self.partitions.get(&index)?.place
    }

    /// Records behind the place of each partition; `None` where that is unknown.
    pub(super) fn lag(&self) -> impl Iterator<Item = (i32, Option<u64>)> {
        self.partitions.iter().map(|(&index, partition)| {
            let behind = partition.place.zip(partition.high_watermark).map(|(place, end)| end.saturating_sub(place.next));
            (index, behind.map(|behind| u64::try_from(behind).unwrap_or(0)))
        })
    }

    // ---- delivery --------------------------------------------------------------------------------------------------

    /// Hands out up to `budget` records, partition by partition. Gives each partition that has moved to `moved`.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        mut budget: usize,
        may_deliver: &dyn Fn(i32) -> bool,
        sink: &mut dyn FnMut(Source, &Record<'_>) -> Verdict,
        moved: &mut dyn FnMut(i32, Place),
    ) {
        for _ in 0..self.partitions.len() {
            let (finished, later) = self.deliver_turn(now, &mut budget, may_deliver, sink, moved);
            if later || budget == 0 {
                return;
            }
            if finished {
                self.next_turn();
            }
        }
    }

    fn next_turn(&mut self) {
        self.reader.close();
        let after = self.partitions.range(self.turn.saturating_add(1)..).next();
        self.turn = after.or_else(|| self.partitions.iter().next()).map_or(0, |(&index, _)| index);
    }

    /// Hands out records of the partition whose turn it is. Whether it has no more, and whether the caller has no room.
    fn deliver_turn(
        &mut self,
        now: Instant,
        budget: &mut usize,
        may_deliver: &dyn Fn(i32) -> bool,
        sink: &mut dyn FnMut(Source, &Record<'_>) -> Verdict,
        moved: &mut dyn FnMut(i32, Place),
    ) -> (bool, bool) {
        let index = self.turn;
        let Some(partition) = self.partitions.get_mut(&index).filter(|_| may_deliver(index)) else { return (true, false) };
        let Some(mut place) = partition.place else { return (true, false) };
        let incarnation = self.incarnations.get(&index).copied().unwrap_or_default();
        let source = Source { partition: index, incarnation };
        let mut hand_out = |record: &Record<'_>| sink(source, record);
        let before = place;
        let mut stopped = (true, false);
        while let Some(fetched) = partition.buffers.front_mut() {
            let stop = fetched.deliver(&mut self.reader, &mut place, budget, &mut hand_out);
            match stop {
                Stop::Empty => _ = partition.buffers.pop_front(),
                Stop::Later => {
                    stopped = (false, true);
                    break;
                }
                Stop::Budget => {
                    stopped = (false, false);
                    break;
                }
                Stop::Damaged { error, next_offset } => {
                    partition.damaged += 1;
                    if partition.damaged < DAMAGED_MAX && !matches!(error, RecordsError::OldFormat { .. }) {
                        self.reader.close();
                        partition.buffers.clear();
                        partition.fetch_from = place.next;
                        partition.rest_until = Some(now + DAMAGED_REST);
                        break;
                    }
                    let offsets = next_offset.saturating_sub(place.next);
                    log::error!("{} partition {index}: {error}; {offsets} offsets passed over", self.topic);
                    fetched.skip_damaged(&mut self.reader);
                    self.counts.damaged_batches += 1;
                    partition.damaged = 0;
                    place.next = next_offset;
                }
            }
        }
        if place != before {
            partition.place = Some(place);
            partition.fetch_from = partition.fetch_from.max(place.next);
            moved(index, place);
        }
        stopped
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.partitions.values().filter_map(|partition| partition.rest_until).filter(|until| *until > now).min()
    }
}
