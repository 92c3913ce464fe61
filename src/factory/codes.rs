//! The lot codes that are known: those in progress and the last so many accepted.

use super::draws::Digest;
use std::collections::VecDeque;

/// Low bits of an entry, in which it counts what keeps its code known.
const REASONS: u128 = 0b11;

/// The known codes, by digest.
///
/// A hash table with linear probing, at most two thirds full, that closes its gaps on removal: it never grows, never rehashes,
/// and its memory is not touched before it is used.
#[derive(Debug)]
pub(super) struct Codes {
    /// Entries: a digest without its low bits, which count one for being in progress and one for being remembered. 0 is free.
    table: Vec<u128>,
    /// The remembered codes, oldest first.
    remembered: VecDeque<Digest>,
    remembered_max: usize,
}

impl Codes {
    /// Memory for so many known codes.
    pub(super) fn bytes(remembered_max: u32, lots_max: u32) -> u64 {
        let entries = places(remembered_max, lots_max) + u64::from(remembered_max) + 1;
        entries * size_of::<u128>() as u64
    }

    pub(super) fn new(remembered_max: u32, lots_max: u32) -> Self {
        let table = vec![0; places(remembered_max, lots_max) as usize];
        let remembered_max = remembered_max as usize;
        Self { table, remembered: VecDeque::with_capacity(remembered_max + 1), remembered_max }
    }

    pub(super) fn knows(&self, code: Digest) -> bool {
        self.table[self.find(code)] != 0
    }

    /// A lot with this code, which was not known, is in progress from now on.
    pub(super) fn accept(&mut self, code: Digest) {
        let place = self.find(code);
        self.table[place] = code.0 & !REASONS | 2;
        self.remembered.push_back(code);
        if self.remembered.len() > self.remembered_max
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.drop_reason(oldest);
        }
    }

    /// The lot with this code has completed.
    pub(super) fn complete(&mut self, code: Digest) {
        self.drop_reason(code);
    }

    fn drop_reason(&mut self, code: Digest) {
        let place = self.find(code);
        self.table[place] -= 1;
        if self.table[place] & REASONS == 0 {
            self.remove(place);
        }
    }

    /// The code's place, or the free one where it would go.
    fn find(&self, code: Digest) -> usize {
        let mut place = self.home(code.0);
        while self.table[place] != 0 && (self.table[place] ^ code.0) & !REASONS != 0 {
            place = self.after(place);
        }
        place
    }

    /// Frees a place and closes the gap, so that a search still ends at the first free place.
    fn remove(&mut self, mut gap: usize) {
        let mut place = self.after(gap);
        while self.table[place] != 0 {
            let len = self.table.len();
            let way = |to: usize| (to + len - self.home(self.table[place])) % len;
            if way(gap) < way(place) {
                self.table[gap] = self.table[place];
                gap = place;
            }
            place = self.after(place);
        }
        self.table[gap] = 0;
    }

    /// Where the search for an entry begins.
    fn home(&self, entry: u128) -> usize {
        (((entry >> 64) * self.table.len() as u128) >> 64) as usize
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.table.len() { 0 } else { place + 1 }
    }
}

/// Places of the table: half as many again as there are codes at most, the one that pushes out the oldest included.
fn places(remembered_max: u32, lots_max: u32) -> u64 {
    (u64::from(remembered_max) + u64::from(lots_max) + 1) * 3 / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_known_while_in_progress_and_while_remembered(
            remembered_max in 0u32..8,
            steps in prop::collection::vec((0usize..20, any::<bool>()), 1..300),
        ) {
            // Homes at both ends and in between, so that runs meet and wrap around.
            let homes = [0, u128::MAX << 66, u128::MAX << 66, 1 << 126];
            let codes: Vec<_> = (0..20).map(|n| Digest(homes[n % 4] + ((n as u128 + 1) << 2))).collect();
            let mut known = Codes::new(remembered_max, 8);
            let (mut in_progress, mut accepted) = (vec![], vec![]);
            for (n, completes) in steps {
                if completes {
                    if in_progress.contains(&n) {
                        in_progress.retain(|&other| other != n);
                        known.complete(codes[n]);
                    }
                } else if !known.knows(codes[n]) && in_progress.len() < 8 {
                    known.accept(codes[n]);
                    in_progress.push(n);
                    accepted.push(n);
                }
                let remembered = &accepted[accepted.len().saturating_sub(remembered_max as usize)..];
                for (n, &code) in codes.iter().enumerate() {
                    prop_assert_eq!(known.knows(code), in_progress.contains(&n) || remembered.contains(&n), "{}", n);
                }
            }
            let entries = known.table.iter().filter(|&&entry| entry != 0).count();
            prop_assert!(entries <= in_progress.len() + remembered_max as usize);
        }
    }
}
