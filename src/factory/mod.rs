//! The pure core: lots walk from stage to stage over the machines of their site. It knows no clock, bus, file, thread or log;
//! time and orders are given to it, and what happened is handed back as [`outputs::Outputs`].

pub mod outputs;
pub mod plan;

use crate::units::{LotId, Priority, SimTime, SiteId};
use outputs::Outputs;
use plan::Plan;

/// An order that has been checked against the wire's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// `codice_lotto`, unique.
    pub code: &'a str,
    /// `cliente`
    pub client: &'a str,
    /// `quantita`
    pub quantity: u32,
    /// `location`
    pub site: SiteId,
    /// `priorita`
    pub priority: Priority,
}

/// Why an order was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A lot with this code is in progress or among those remembered.
    Duplicate,
    /// The factory holds as many lots as it may: offer it again later.
    Full,
}

/// Counts that an observer may want, as of the last `advance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lots on a machine.
    pub active_lots: u32,
    /// Lots waiting for one.
    pub queued_lots: u32,
    /// Lots completed since the start.
    pub completed_lots: u64,
    /// Machines of all sites.
    pub machines_total: u32,
    /// Machines holding a lot, blocked ones included.
    pub machines_busy: u32,
    /// Machines blocked.
    pub machines_blocked: u32,
}

/// The factory.
#[derive(Debug)]
pub struct Factory {}

impl Factory {
    /// An empty factory whose machines stand idle at `start`.
    #[must_use]
    pub fn new(_plan: &Plan, _start: SimTime) -> Self {
        unimplemented!()
    }

    /// Takes an order at instant `at`, to which the factory must have been advanced.
    ///
    /// # Errors
    /// [`Refusal`]: nothing has changed and nothing was put out.
    pub fn offer(&mut self, _at: SimTime, _order: &Order<'_>, _out: &mut Outputs) -> Result<LotId, Refusal> {
        unimplemented!()
    }

    /// Fires what is due up to and including `to`, in time order, and stops early once `out` holds `outputs_max` or more.
    /// Returns the instant reached: `to`, or that of the last timer fired; call again with the rest.
    pub fn advance(&mut self, _to: SimTime, _outputs_max: usize, _out: &mut Outputs) -> SimTime {
        unimplemented!()
    }

    /// When the next timer is due; `SimTime::NEVER` when none is.
    #[must_use]
    pub fn next_due(&self) -> SimTime {
        unimplemented!()
    }

    /// What it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        unimplemented!()
    }
}
