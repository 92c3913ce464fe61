//! The lots in progress, as arrays. Memory is reserved for all at the start and touched as places are first used, so an empty
//! factory stays small; a completed lot's place, its code's buffer included, is used again.

use super::Order;
use super::draws::Digest;
use super::queues::{Fifo, Links, NONE};
use crate::units::{LotId, Priority, SimTime, SiteId, SlotId, Span, StageId};

/// Bytes of a lot code at most: the wire takes 64 characters, UTF-8 up to 4 bytes each.
pub(super) const CODE_BYTES_MAX: usize = 64 * 4;

/// Where a lot stands.
///
/// ```text
///   order --> Queued(first stage) --> Processing --> Queued(next stage) --> … --> Completed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LotState {
    /// It waits for a machine of this stage at its site.
    Queued(StageId),
    /// A machine of this stage holds it, blocked or not.
    Processing(StageId, SlotId),
    /// It has left the last stage: its place is free.
    Completed,
}

/// The arrays, by place.
#[derive(Debug)]
pub(super) struct Lots {
    pub(super) code: Vec<String>,
    pub(super) digest: Vec<Digest>,
    pub(super) quantity: Vec<u32>,
    pub(super) site: Vec<SiteId>,
    pub(super) priority: Vec<Priority>,
    pub(super) state: Vec<LotState>,
    pub(super) received_at: Vec<SimTime>,
    /// Since when it has waited, while it is queued.
    pub(super) queued_since: Vec<SimTime>,
    /// How long it has waited in all, the present wait not counted.
    pub(super) queued: Vec<Span>,
    /// Links of the queue it stands in, or of the free places.
    pub(super) links: Links,
    generation: Vec<u32>,
    /// How long it was on a machine of each stage: `stages` entries a lot.
    spent: Vec<Span>,
    free: Fifo,
    stages: usize,
    capacity: usize,
}

impl Lots {
    pub(super) fn new(capacity: usize, stages: usize) -> Self {
        Self {
            code: Vec::with_capacity(capacity),
            digest: Vec::with_capacity(capacity),
            quantity: Vec::with_capacity(capacity),
            site: Vec::with_capacity(capacity),
            priority: Vec::with_capacity(capacity),
            state: Vec::with_capacity(capacity),
            received_at: Vec::with_capacity(capacity),
            queued_since: Vec::with_capacity(capacity),
            queued: Vec::with_capacity(capacity),
            links: Links(Vec::with_capacity(capacity)),
            generation: Vec::with_capacity(capacity),
            spent: Vec::with_capacity(capacity * stages),
            free: Fifo::EMPTY,
            stages,
            capacity,
        }
    }

    /// Memory of each lot, at most.
    pub(super) const fn lot_bytes(stages: usize) -> usize {
        let texts = size_of::<String>() + CODE_BYTES_MAX + size_of::<Digest>();
        let facts = size_of::<u32>() + size_of::<SiteId>() + size_of::<Priority>() + size_of::<LotState>();
        let times = 2 * size_of::<SimTime>() + (1 + stages) * size_of::<Span>();
        texts + facts + times + 2 * size_of::<u32>()
    }

    /// Takes an order in at its first stage; `None` when every place is taken.
    pub(super) fn insert(&mut self, at: SimTime, order: &Order<'_>, digest: Digest) -> Option<u32> {
        let lot = self.free.pop(&self.links).or_else(|| self.first_use())?;
        let i = lot as usize;
        self.code[i].clear();
        // Exact: it never grows beyond the longest code that was here.
        self.code[i].reserve_exact(order.code.len());
        self.code[i].push_str(order.code);
        self.digest[i] = digest;
        self.quantity[i] = order.quantity;
        self.site[i] = order.site;
        self.priority[i] = order.priority;
        self.state[i] = LotState::Queued(StageId(0));
        self.received_at[i] = at;
        self.queued_since[i] = at;
        self.queued[i] = Span(0);
        self.spent_mut(lot).fill(Span(0));
        Some(lot)
    }

    /// A place that was never used, with nothing in it.
    fn first_use(&mut self) -> Option<u32> {
        let lot = self.code.len();
        if lot == self.capacity {
            return None;
        }
        self.code.push(String::new());
        self.digest.push(Digest::default());
        self.quantity.push(0);
        self.site.push(SiteId(0));
        self.priority.push(Priority::Normal);
        self.state.push(LotState::Completed);
        self.received_at.push(SimTime(0));
        self.queued_since.push(SimTime(0));
        self.queued.push(Span(0));
        self.links.0.push(NONE);
        self.generation.push(0);
        self.spent.resize(self.spent.len() + self.stages, Span(0));
        Some(lot as u32)
    }

    /// Frees the place of a lot that has left the last stage; its handle is stale from now on.
    pub(super) fn complete(&mut self, lot: u32) {
        self.state[lot as usize] = LotState::Completed;
        self.generation[lot as usize] = self.generation[lot as usize].wrapping_add(1);
        self.free.push(&mut self.links, lot);
    }

    pub(super) fn id(&self, lot: u32) -> LotId {
        LotId { index: lot, generation: self.generation[lot as usize] }
    }

    /// The place of a lot that is still in progress.
    pub(super) fn place(&self, id: LotId) -> Option<usize> {
        let place = id.index as usize;
        let current = *self.generation.get(place)? == id.generation && self.state[place] != LotState::Completed;
        current.then_some(place)
    }

    /// Time on a machine of each stage.
    pub(super) fn spent(&self, lot: u32) -> &[Span] {
        &self.spent[lot as usize * self.stages..][..self.stages]
    }

    pub(super) fn spent_mut(&mut self, lot: u32) -> &mut [Span] {
        &mut self.spent[lot as usize * self.stages..][..self.stages]
    }
}
