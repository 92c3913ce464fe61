//! SIGUSR1: how everything stands, into the log.

use super::Live;
use super::story::StatusLine;
use crate::factory::MachineState;
use crate::logging::answer;
use crate::wire::Utc;
use std::collections::BTreeMap;
use std::time::Instant;

impl Live {
    /// Writes the state: a line for the run, one for the bus, one for the loop, and one for the machines of each kind and plant.
    pub(super) fn dump(&self, now: Instant) {
        let bus = self.bus.status();
        let (at, counts, orders) = (self.production.at(), self.production.counts(), self.production.order_counts());
        let uptime_s = now.saturating_duration_since(self.origin).as_secs();
        answer(format_args!(
            "state: run {}, seed {}, up {uptime_s} s, simulated {}",
            self.identity.run_id,
            self.identity.seed,
            Utc(at)
        ));
        answer(format_args!("state: {}", StatusLine { at, counts, orders, bus: &bus }));
        answer(format_args!(
            "state: bus {}: connected {}, {} bytes waiting, lag {}, {} errors, {} orders skipped, intake paused {}",
            self.identity.kafka_broker,
            bus.connected,
            bus.outbox_bytes,
            bus.consumer_lag.map_or("unknown".to_owned(), |lag| lag.to_string()),
            bus.errors,
            orders.skipped,
            self.intake_paused,
        ));
        if let Some(api) = self.api.as_ref().map(crate::api::ApiSender::counts) {
            let (sent, failed, dropped, queued) = (api.sent, api.failed, api.dropped, api.queued);
            answer(format_args!(
                "state: external API: {sent} records sent, {failed} failed, {dropped} dropped, {queued} waiting"
            ));
        }
        let lateness = self.ticker.lateness();
        let late: Vec<_> = lateness.cumulative().map(|(bound_us, ticks)| (bound_us, lateness.ticks() - ticks)).collect();
        let late = late.iter().filter(|(bound_us, later)| *later > 0 && *bound_us >= 1_000);
        let late: Vec<_> = late.map(|(bound_us, later)| format!(", {later} over {} ms", bound_us / 1_000)).collect();
        answer(format_args!("state: {} ticks{}", lateness.ticks(), late.concat()));
        self.dump_machines();
    }

    fn dump_machines(&self) {
        let plan = self.production.plan();
        let mut groups = BTreeMap::<_, [u32; 3]>::new();
        for (machine, state) in self.production.machines() {
            let place = match state {
                MachineState::Idle => 0,
                MachineState::Busy => 1,
                MachineState::Blocked => 2,
            };
            groups.entry((machine.site, machine.stage)).or_default()[place] += 1;
        }
        for ((site, stage), [idle, busy, blocked]) in groups {
            let (kind, site) = (&plan.stage(stage).machine, &plan.site(site).name);
            answer(format_args!("state: {kind}-{site}: {idle} idle, {busy} busy, {blocked} blocked"));
        }
    }
}
