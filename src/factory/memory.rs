//! What a factory's memory comes to, computed before any is taken.

use super::Factory;
use super::agenda::Agenda;
use super::codes::Codes;
use super::lots::Lots;
use super::plan::Plan;
use super::slots::Slots;

/// Bytes that a factory takes at most. Pages of places that were never used are not touched, so far less is resident until
/// the factory has once been full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeeds {
    /// For each lot that may be in progress.
    pub lot_bytes: u64,
    /// For each machine.
    pub machine_bytes: u64,
    /// For all known lot codes.
    pub codes_bytes: u64,
    /// For everything but the rows of the plan.
    pub total_bytes: u64,
}

impl Factory {
    /// The memory that [`Factory::new`] with this plan may take, then and later.
    #[must_use]
    pub fn memory_needs(plan: &Plan) -> MemoryNeeds {
        let lot_bytes = Lots::lot_bytes(plan.stages.len()) as u64;
        let machine_bytes = (Slots::SLOT_BYTES + Agenda::SLOT_BYTES) as u64;
        let codes_bytes = Codes::bytes(plan.capacity.remembered_codes, plan.capacity.lots);
        let lots_bytes = lot_bytes.saturating_mul(plan.capacity.lots.into());
        let machines: u64 = plan.sites.iter().flat_map(|site| &site.machines).copied().map(u64::from).sum();
        let machines_bytes = machine_bytes.saturating_mul(machines);
        let total_bytes = lots_bytes.saturating_add(machines_bytes).saturating_add(codes_bytes);
        MemoryNeeds { lot_bytes, machine_bytes, codes_bytes, total_bytes }
    }
}
