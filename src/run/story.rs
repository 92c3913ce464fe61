//! What the log tells: lots and machines as they go, and the status line.

use super::intake;
use crate::bus;
use crate::factory::Counts;
use crate::factory::outputs::{Machine, Output, Outputs, What};
use crate::factory::plan::Plan;
use crate::units::SimTime;
use crate::wire::Utc;
use log::{debug, info};
use std::fmt;

/// A machine's id, as on the wire.
struct MachineId<'a>(&'a Plan, Machine);

impl fmt::Display for MachineId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, machine) = self;
        write!(f, "{}-{}-{}", plan.stage(machine.stage).machine, plan.site(machine.site).name, machine.number)
    }
}

/// One line for each step of a lot and each stop of a machine; telemetry is not told.
pub(super) fn tell(plan: &Plan, output: &Output, outputs: &Outputs) {
    match output.what {
        What::Telemetry { .. } => {}
        What::LotReceived { code, quantity, site, priority, .. } => {
            let (code, site, priority) = (outputs.text(code), &plan.site(site).name, priority.as_str());
            info!("lot {code} received at {site}: {quantity} pieces, {priority}");
        }
        What::StageStarted { code, machine, processing } => {
            let minutes = processing.as_secs_f64() / 60.0;
            info!("lot {} started on machine {}: {minutes:.1} min", outputs.text(code), MachineId(plan, machine));
        }
        What::StageCompleted { code, machine, duration } => {
            let minutes = duration.as_secs_f64() / 60.0;
            debug!("lot {} left machine {} after {minutes:.1} min", outputs.text(code), MachineId(plan, machine));
        }
        What::MachineBlocked { machine, code, reason } => {
            let reason = &plan.stage(machine.stage).block_reasons[usize::from(reason)].reason;
            info!("machine {} blocked with lot {}: {reason}", MachineId(plan, machine), outputs.text(code));
        }
        What::MachineUnblocked { machine, code, blocked } => {
            let minutes = blocked.as_secs_f64() / 60.0;
            info!("machine {} goes on with lot {} after {minutes:.1} min", MachineId(plan, machine), outputs.text(code));
        }
        What::LotCompleted { code, site, total, queued, .. } => {
            let (code, site) = (outputs.text(code), &plan.site(site).name);
            let (total, queued) = (total.as_secs_f64() / 60.0, queued.as_secs_f64() / 60.0);
            info!("lot {code} completed at {site}: {total:.1} min, {queued:.1} of them waiting");
        }
    }
}

/// The figures of the status line.
pub(super) struct StatusLine<'a> {
    pub(super) at: SimTime,
    pub(super) counts: Counts,
    pub(super) orders: intake::Counts,
    pub(super) bus: &'a bus::Status,
}

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, counts, orders, bus } = self;
        write!(f, "status at {}: ", Utc(*at))?;
        write!(
            f,
            "lots {} active, {} queued, {} done; machines {}/{} busy, {} blocked; orders {} accepted, {} rejected; ",
            counts.active_lots,
            counts.queued_lots,
            counts.completed_lots,
            counts.machines_busy,
            counts.machines_total,
            counts.machines_blocked,
            orders.accepted,
            orders.rejected,
        )?;
        write!(f, "records {} sent, {} waiting, {} dropped", bus.acknowledged, bus.outbox_records, bus.dropped)?;
        if bus.refused > 0 { write!(f, ", {} refused", bus.refused) } else { Ok(()) }
    }
}
