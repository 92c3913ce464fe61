//! Time: the same story however it is cut.

use crate::world::*;
use mokasim::factory::outputs::{Output, Outputs, What};
use mokasim::factory::plan::Plan;
use mokasim::units::{Priority, SimTime, SiteId, Span};
use proptest::prelude::*;

/// Panics at the first output that differs.
fn assert_same(expected: &Outputs, found: &Outputs, pace: Pace) {
    for (expected, found) in expected.iter().zip(found.iter()) {
        assert_eq!(expected, found, "{pace:?}");
    }
    // Texts and values too, and where they lie.
    assert!(format!("{expected:?}") == format!("{found:?}"), "{pace:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn ticks_change_nothing(seed: u64, arrivals in arrivals(), idle_telemetry: bool, outputs_max in 1usize..50) {
        let plan = Plan { idle_telemetry, telemetry_interval: Span(1500), ..brisk(seed) };
        let until = START + Span(120_000);
        let arrivals: Vec<_> = arrivals.into_iter().filter(|arrival| arrival.at <= until).collect();
        let (_, expected) = run(&plan, &arrivals, ONE_JUMP, until);
        for (tick_ms, outputs_max) in [(10, usize::MAX), (100, outputs_max), (1000, 1), (7, 3), (i64::MAX, outputs_max)] {
            let pace = Pace { tick: Span(tick_ms), outputs_max };
            let (_, found) = run(&plan, &arrivals, pace, until);
            assert_same(&expected, &found, pace);
        }
    }
}

#[test]
fn another_seed_tells_another_story() {
    let arrivals = [Arrival::new(0, "L-1", Priority::Normal)];
    let stories = [1, 1, 2].map(|seed| format!("{:?}", run(&shipped(seed), &arrivals, ONE_JUMP, A_DAY).1));
    assert!(stories[0] == stories[1] && stories[0] != stories[2]);
}

#[test]
fn a_lot_fares_the_same_whoever_came_before_it() {
    let lot = Arrival::new(3_600_000, "L-1", Priority::Normal);
    let stranger = Arrival { code: "stranger".into(), ..Arrival::new(0, "", Priority::Normal) };
    let plan = Plan { block_probability: 0.0, ..shipped(5) };
    let [alone, after] = [vec![lot.clone()], vec![stranger, lot]].map(|arrivals| {
        let (_, out) = run(&plan, &arrivals, ONE_JUMP, A_DAY);
        let processing = |output: &Output| match output.what {
            What::StageStarted { code, processing, .. } if out.text(code) == "L-1" => Some(processing),
            _ => None,
        };
        out.iter().filter_map(processing).collect::<Vec<_>>()
    });
    assert_eq!(alone.len(), 4);
    assert_eq!(alone, after);
}

#[test]
fn an_idle_factory_has_nothing_due() {
    let (mut factory, mut out) = run(&shipped(1), &[Arrival::new(0, "L-1", Priority::Normal)], ONE_JUMP, A_DAY);
    assert_eq!(factory.next_due(), SimTime::NEVER);
    out.clear();
    assert_eq!(factory.advance(A_DAY + Span(1), usize::MAX, &mut out), A_DAY + Span(1));
    assert!(out.is_empty());
}

#[test]
fn the_fingerprint_knows_every_field_and_the_start() {
    let plan = shipped(1);
    let mut others: Vec<Plan> = (0..13).map(|_| plan.clone()).collect();
    others[0].seed = 2;
    others[1].priority_processing = false;
    others[2].block_probability = 0.06;
    others[3].block_duration.max = Span(1);
    others[4].telemetry_interval = Span(1);
    others[5].idle_telemetry = true;
    others[6].capacity.lots = 1;
    others[7].sites[1].machines[2] += 1;
    others[8].stages[0].signals.swap(0, 1);
    others[9].stages[3].block_reasons[1].maintenance = true;
    others[10].sites.swap(0, 1);
    others[11].stages[1].duration.min = Span(1);
    others[12].play_only(SiteId(1));
    let mut seen: Vec<u64> = others.iter().map(|plan| plan.fingerprint(START)).collect();
    seen.extend([plan.fingerprint(START), plan.fingerprint(START + Span(1))]);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 15);
    assert_eq!(plan.fingerprint(START), plan.clone().fingerprint(START));
}
