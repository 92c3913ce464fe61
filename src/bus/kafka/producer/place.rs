//! How far a partition's log is known, and whether batches whose answer was lost have to be looked for behind that.

use std::time::{Duration, Instant};

/// What is known is asked for anew after so long: what others wrote meanwhile would have to be read in a search.
const FRESH: Duration = Duration::from_secs(600);

/// What the broker has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Where the log begins.
    Start,
    /// Where it ends.
    End,
    /// What lies in it, from this offset on.
    Batches { from: i64 },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// None of the batches that are still here lies before it. `None`: the broker lets nobody know.
    offset: Option<i64>,
    /// When that was found out.
    at: Option<Instant>,
    search: Option<Search>,
    is_asked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Search {
    /// The place itself is gone, and where the log begins not known yet.
    Lost,
    /// The end is not known yet.
    Begun,
    /// Everything before this offset is to be read.
    Until(i64),
}

impl Place {
    /// Whether a batch that is sent now could be found again.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.search.is_none() && self.at.is_some_and(|at| at + FRESH > now)
    }

    /// What to ask before anything is sent, unless that is under way.
    pub(super) fn question(&self, now: Instant) -> Option<Question> {
        if self.is_asked || self.is_known(now) {
            return None;
        }
        Some(match (self.search, self.offset) {
            (Some(Search::Lost), _) => Question::Start,
            (Some(Search::Until(_)), Some(from)) => Question::Batches { from },
            _ => Question::End,
        })
    }

    /// It has been asked.
    pub(super) const fn asked(&mut self) {
        self.is_asked = true;
    }

    /// The broker has taken a batch, behind which the log goes on at `next`. One that is in doubt may lie before it.
    pub(super) const fn taken(&mut self, next: i64, now: Instant) {
        if self.search.is_none() {
            self.found_out(next, now);
        }
    }

    const fn found_out(&mut self, offset: i64, now: Instant) {
        self.offset = Some(offset);
        self.at = Some(now);
    }

    /// The answer to a batch was lost.
    pub(super) fn doubt(&mut self) {
        self.search = self.offset.map(|_| Search::Begun);
    }

    /// The place is gone: what lay there has been deleted.
    pub(super) const fn lose(&mut self) {
        self.is_asked = false;
        self.search = Some(Search::Lost);
    }

    /// The log begins here. True when what lay between has been deleted, unseen.
    pub(super) fn begins_at(&mut self, start: i64, now: Instant) -> bool {
        self.is_asked = false;
        self.search = self.search.map(|_| Search::Begun);
        let is_behind = self.offset.is_none_or(|offset| offset < start);
        if is_behind {
            self.found_out(start, now);
        }
        is_behind
    }

    /// The log ends here.
    pub(super) fn ends_at(&mut self, end: i64, now: Instant) {
        self.is_asked = false;
        if self.search.is_some() && self.offset.is_some_and(|offset| offset < end) {
            self.search = Some(Search::Until(end));
        } else {
            self.search = None;
            self.found_out(end, now);
        }
    }

    /// All that lies before `next` has been looked at. False when that is not more than before.
    pub(super) fn read_to(&mut self, next: i64, now: Instant) -> bool {
        self.is_asked = false;
        let progress = self.offset.is_none_or(|offset| offset < next);
        if progress {
            self.found_out(next, now);
        }
        if matches!(self.search, Some(Search::Until(end)) if end <= next) {
            self.search = None;
        }
        progress
    }

    /// The answer was of no use, or of another leader: the end is asked for anew.
    pub(super) fn ask_anew(&mut self) {
        self.is_asked = false;
        if matches!(self.search, Some(Search::Until(_))) {
            self.search = Some(Search::Begun);
        }
    }

    /// Nothing can be found out: what is sent again is left to the broker, which may know it by its sequence number.
    pub(super) const fn give_up(&mut self, now: Instant) {
        self.is_asked = false;
        self.search = None;
        self.at = Some(now);
    }
}
