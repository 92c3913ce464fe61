//! Blocks: how often, and when.

use crate::world::*;
use mokasim::factory::Factory;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::{Plan, Range};
use mokasim::units::{Priority, Span};

/// For each of `lots` lots made one after the other on one machine: how many lots ago the machine's last maintenance was, and
/// whether the lot was interrupted. The first maintenance must have been seen.
fn history(probability: f64, maintenances: usize, lots: usize) -> Vec<(usize, bool)> {
    let mut plan =
        Plan { block_probability: probability, telemetry_interval: Span::from_secs(1 << 40), ..single_stage(9, 1) };
    plan.block_duration = Range { min: Span(1), max: Span(1) };
    for (n, reason) in plan.stages[0].block_reasons.iter_mut().enumerate() {
        reason.maintenance = n < maintenances;
    }
    let mut factory = Factory::new(&plan, START);
    let mut now = START;
    let mut since_maintenance = None;
    let mut history = Vec::new();
    for n in 0..lots {
        let mut out = Outputs::new();
        Arrival { at: now, ..Arrival::new(0, &n.to_string(), Priority::Normal) }.offer(&mut factory, &mut out).unwrap();
        while factory.counts().active_lots > 0 {
            now = factory.advance(factory.next_due(), usize::MAX, &mut out);
        }
        let block = out.iter().find_map(|output| match output.what {
            What::MachineBlocked { reason, .. } => Some(usize::from(reason)),
            _ => None,
        });
        history.extend(since_maintenance.map(|lots| (lots, block.is_some())));
        since_maintenance = since_maintenance.map(|lots| lots + 1);
        if block.is_some_and(|reason| reason < maintenances) {
            since_maintenance = Some(0);
        }
    }
    history
}

/// Share of the lots that were interrupted.
fn rate<'a>(history: impl IntoIterator<Item = &'a (usize, bool)>) -> f64 {
    let (blocks, lots) =
        history.into_iter().fold((0, 0), |(blocks, lots), &(_, block)| (blocks + u32::from(block), lots + 1));
    f64::from(blocks) / f64::from(lots)
}

#[test]
fn blocks_come_as_often_as_configured() {
    for (probability, maintenances) in [(0.05, 2), (0.05, 4), (0.3, 1), (0.5, 2), (0.5, 4), (0.9, 4)] {
        let history = history(probability, maintenances, 40_000);
        let found = rate(&history);
        // Four standard deviations of a binomial share.
        let tolerance = 4.0 * (probability * (1.0 - probability) / history.len() as f64).sqrt();
        assert!((found - probability).abs() < tolerance, "{found} instead of {probability} with {maintenances} of 4");
    }
}

#[test]
fn wear_makes_blocks_likelier() {
    let history = history(0.05, 2, 40_000);
    // 40 lots are expected between two maintenances.
    let (fresh, worn): (Vec<_>, Vec<_>) = history.into_iter().partition(|&(lots, _)| lots < 20);
    assert!(rate(&worn) > 1.25 * rate(&fresh), "{} and {}", rate(&worn), rate(&fresh));
}

#[test]
fn never_and_always_mean_what_they_say() {
    let plan = |block_probability| Plan { block_probability, ..brisk(4) };
    let arrivals: Vec<_> = (0..100).map(|n| Arrival::new(0, &format!("L-{n}"), Priority::Normal)).collect();
    let blocks = |plan: &Plan| {
        let (_, out) = run(plan, &arrivals, ONE_JUMP, A_DAY);
        out.iter().filter(|output| matches!(output.what, What::MachineBlocked { .. })).count()
    };
    assert_eq!(blocks(&plan(0.0)), 0);
    assert_eq!(blocks(&plan(1.0)), 400);
    let mut without_reasons = plan(1.0);
    without_reasons.stages[2].block_reasons.clear();
    assert_eq!(blocks(&without_reasons), 300);
}

#[test]
fn work_of_a_millisecond_is_blocked_too() {
    let mut plan = Plan { block_probability: 1.0, ..single_stage(1, 1) };
    plan.stages[0].duration = Range { min: Span(0), max: Span(0) };
    plan.block_duration = Range { min: Span(0), max: Span(0) };
    let (factory, out) = run(&plan, &[Arrival::new(0, "a", Priority::Normal)], ONE_JUMP, A_DAY);
    assert_eq!(factory.counts().completed_lots, 1);
    assert_eq!(out.iter().filter(|output| matches!(output.what, What::MachineUnblocked { .. })).count(), 1);
}
