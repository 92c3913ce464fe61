//! What is due next: a heap with one entry for each machine that waits for something, at the machine's own next instant.
//! Entries move when the instant changes, so none is ever stale and nothing is scanned.

use super::queues::NONE;
use crate::units::{SimTime, SlotId};

/// Children of a node: 4 keep the heap shallow and siblings in one cache line.
const ARITY: usize = 4;

/// A machine and its next instant; earlier instants first, then lower slots.
type Entry = (SimTime, u32);

/// The heap.
#[derive(Debug)]
pub(super) struct Agenda {
    heap: Vec<Entry>,
    /// Where each slot's entry stands in `heap`; `NONE`: nowhere.
    place: Vec<u32>,
}

impl Agenda {
    /// Memory of each machine.
    pub(super) const SLOT_BYTES: usize = size_of::<Entry>() + size_of::<u32>();

    pub(super) fn new(slots: usize) -> Self {
        Self { heap: Vec::with_capacity(slots), place: vec![NONE; slots] }
    }

    /// The earliest instant and its slot.
    pub(super) fn first(&self) -> Option<(SimTime, SlotId)> {
        self.heap.first().map(|&(at, slot)| (at, SlotId(slot)))
    }

    /// Sets the slot's next instant; `NEVER` takes it off. Costs the logarithm of the entries.
    pub(super) fn set(&mut self, slot: SlotId, at: SimTime) {
        let place = self.place[slot.0 as usize];
        match (place, at) {
            (NONE, SimTime::NEVER) => {}
            (NONE, _) => {
                self.heap.push((at, slot.0));
                self.rise(self.heap.len() - 1);
            }
            (_, SimTime::NEVER) => {
                self.place[slot.0 as usize] = NONE;
                self.heap.swap_remove(place as usize);
                if (place as usize) < self.heap.len() {
                    self.settle(place as usize);
                }
            }
            _ if self.heap[place as usize].0 == at => {}
            _ => {
                self.heap[place as usize].0 = at;
                self.settle(place as usize);
            }
        }
    }

    /// Brings the entry at `place` to where it belongs.
    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let children = (place * ARITY + 1).min(self.heap.len())..(place * ARITY + 1 + ARITY).min(self.heap.len());
            match children.min_by_key(|&child| self.heap[child]) {
                Some(child) if self.heap[child] < entry => {
                    self.put(place, self.heap[child]);
                    place = child;
                }
                _ => break,
            }
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.place[entry.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn first_is_the_earliest_then_the_lowest(sets in prop::collection::vec((0u32..40, prop::option::of(0i64..30)), 1..400)) {
            let mut agenda = Agenda::new(40);
            let mut model = std::collections::BTreeMap::new();
            for (slot, at) in sets {
                agenda.set(SlotId(slot), at.map_or(SimTime::NEVER, SimTime));
                match at {
                    Some(at) => model.insert(slot, at),
                    None => model.remove(&slot),
                };
                let earliest = model.iter().map(|(&slot, &at)| (SimTime(at), SlotId(slot))).min();
                prop_assert_eq!(agenda.first(), earliest);
            }
        }
    }
}
