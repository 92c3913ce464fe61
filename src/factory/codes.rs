//! The lot codes that are known: those in progress and the last so many accepted.

use super::draws::Digest;
use std::collections::{HashMap, VecDeque};

/// The known codes, by digest. Memory grows with use up to a bound.
#[derive(Debug)]
pub(super) struct Codes {
    /// Each known code and what keeps it known: being in progress, being remembered, or both.
    reasons: HashMap<Digest, u8>,
    /// The remembered codes, oldest first.
    remembered: VecDeque<Digest>,
    remembered_max: usize,
}

impl Codes {
    /// Memory for so many known codes, at most. The map has a byte of control beside each place, seven eighths of its places
    /// may be used, their number is a power of two, and churn lets it grow until half of them are in use.
    pub(super) fn bytes(remembered_max: u32, lots_max: u32) -> u64 {
        let places = ((u64::from(remembered_max) + u64::from(lots_max)) * 2 * 8 / 7).next_power_of_two();
        places * (size_of::<(Digest, u8)>() as u64 + 1) + (u64::from(remembered_max) + 1) * size_of::<Digest>() as u64
    }

    pub(super) fn new(remembered_max: usize) -> Self {
        Self { reasons: HashMap::new(), remembered: VecDeque::with_capacity(remembered_max + 1), remembered_max }
    }

    pub(super) fn knows(&self, code: Digest) -> bool {
        self.reasons.contains_key(&code)
    }

    /// A lot with this code, which was not known, is in progress from now on.
    pub(super) fn accept(&mut self, code: Digest) {
        self.reasons.insert(code, 2);
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
        if let Some(reasons) = self.reasons.get_mut(&code) {
            *reasons -= 1;
            if *reasons == 0 {
                self.reasons.remove(&code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_while_in_progress_and_while_remembered() {
        let digest = |name: &str| Digest::new(0, &[name]);
        let mut codes = Codes::new(2);
        for name in ["a", "b", "c"] {
            codes.accept(digest(name));
        }
        codes.complete(digest("b"));
        assert!(codes.knows(digest("a")), "in progress, no longer remembered");
        assert!(codes.knows(digest("b")), "completed, still remembered");
        codes.complete(digest("a"));
        assert!(!codes.knows(digest("a")));
        codes.accept(digest("a"));
        assert!(!codes.knows(digest("b")), "two were accepted after it");
        assert_eq!(codes.reasons.len(), 2);
    }

    #[test]
    fn nothing_is_remembered_when_nothing_may_be() {
        let code = Digest::new(0, &["a"]);
        let mut codes = Codes::new(0);
        codes.accept(code);
        assert!(codes.knows(code));
        codes.complete(code);
        assert!(!codes.knows(code));
    }
}
