//! Lots: from an order to completion.

use crate::books::Books;
use crate::world::*;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::{Capacity, Plan};
use mokasim::factory::{Counts, Factory, LotState, MachineState, Refusal};
use mokasim::units::{Priority, SimTime, SiteId, Span, StageId};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_books_balance(
        seed: u64,
        arrivals in arrivals(),
        priority_processing: bool,
        idle_telemetry: bool,
        minutes in prop_oneof![0i64..10, Just(24 * 60)],
    ) {
        let until = START + Span(minutes * 60_000);
        let arrivals: Vec<_> = arrivals.into_iter().filter(|arrival| arrival.at <= until).collect();
        let plan = Plan {
            priority_processing,
            idle_telemetry,
            telemetry_interval: Span(if minutes > 10 { 3_600_000 } else { 7_000 }),
            ..brisk(seed)
        };
        let (factory, out) = run(&plan, &arrivals, ONE_JUMP, until);
        let books = Books::read(&plan, START, factory.machines().map(|(machine, _)| machine), &out);

        let Counts { active_lots, queued_lots, completed_lots, machines_total, machines_busy, machines_blocked } =
            factory.counts();
        let in_state = |wanted| factory.machines().filter(|&(_, state)| state == wanted).count() as u32;
        prop_assert_eq!(books.completed as u64, completed_lots);
        prop_assert_eq!(books.in_progress() as u32, active_lots + queued_lots);
        prop_assert_eq!(books.in_progress() + books.completed, arrivals.len());
        prop_assert_eq!(active_lots, machines_busy);
        prop_assert_eq!(in_state(MachineState::Busy), machines_busy - machines_blocked);
        prop_assert_eq!(in_state(MachineState::Blocked), machines_blocked);
        prop_assert_eq!(in_state(MachineState::Idle), machines_total - machines_busy);
        if minutes > 10 {
            prop_assert_eq!(books.completed, arrivals.len(), "all are made within a day");
        }
    }
}

#[test]
fn urgent_lots_go_first_and_equals_in_the_order_of_arrival() {
    use Priority::{High, Low, Normal};
    let arrivals = [("n1", Normal), ("b1", Low), ("n2", Normal), ("a1", High), ("b2", Low), ("a2", High)];
    let arrivals = arrivals.map(|(code, priority)| Arrival::new(0, code, priority));
    let plan = single_stage(1, 1);
    let (_, out) = run(&plan, &arrivals, ONE_JUMP, A_DAY);
    assert_eq!(started(&out, 0), ["n1", "a1", "a2", "n2", "b1", "b2"], "the first found the machine idle");
    let (_, out) = run(&Plan { priority_processing: false, ..plan }, &arrivals, ONE_JUMP, A_DAY);
    assert_eq!(started(&out, 0), ["n1", "b1", "n2", "a1", "b2", "a2"]);
}

#[test]
fn a_site_never_waits_for_another() {
    let (italia, brasile) = (SiteId(0), SiteId(1));
    let crowd = (0..50).map(|n| Arrival { site: italia, ..Arrival::new(0, &format!("crowd-{n}"), Priority::High) });
    let alone = Arrival { site: brasile, ..Arrival::new(0, "alone", Priority::Low) };
    let arrivals: Vec<_> = crowd.chain([alone]).collect();
    let (factory, out) = run(&shipped(3), &arrivals, ONE_JUMP, START);
    assert_eq!(factory.counts().queued_lots, 47, "three machines took one each");
    let last = out.iter().last().unwrap();
    assert!(matches!(last.what, What::Telemetry { machine, .. } if machine.site == brasile));
}

#[test]
fn a_full_factory_refuses_and_takes_again_when_a_lot_has_left() {
    let plan = Plan { capacity: Capacity { lots: 2, remembered_codes: 10 }, ..single_stage(1, 1) };
    let mut factory = Factory::new(&plan, START);
    let mut out = Outputs::new();
    let mut offer = |factory: &mut Factory, at: SimTime, code| {
        out.clear();
        let arrival = Arrival { at, ..Arrival::new(0, code, Priority::Normal) };
        let result = arrival.offer(factory, &mut out);
        assert_eq!(result.is_err(), out.is_empty(), "a refusal puts nothing out");
        result
    };
    offer(&mut factory, START, "a").unwrap();
    offer(&mut factory, START, "b").unwrap();
    let before = factory.counts();
    assert_eq!(offer(&mut factory, START, "c"), Err(Refusal::Full));
    assert_eq!(offer(&mut factory, START, "a"), Err(Refusal::Duplicate), "for good, so rather than full");
    assert_eq!(factory.counts(), before);

    let mut now = START;
    while factory.counts().completed_lots == 0 {
        now = factory.advance(factory.next_due(), usize::MAX, &mut Outputs::new());
    }
    offer(&mut factory, now, "c").unwrap();
}

#[test]
fn a_code_is_taken_again_once_it_is_forgotten() {
    let plan = Plan { capacity: Capacity { lots: 10, remembered_codes: 2 }, ..single_stage(1, 1) };
    let mut factory = Factory::new(&plan, START);
    let mut now = START;
    let mut make = |code| {
        let mut out = Outputs::new();
        let accepted = Arrival { at: now, ..Arrival::new(0, code, Priority::Normal) }.offer(&mut factory, &mut out);
        while factory.counts().active_lots > 0 {
            now = factory.advance(factory.next_due(), usize::MAX, &mut out);
        }
        accepted.map(|_| ())
    };
    assert_eq!(make("a"), Ok(()));
    assert_eq!(make("a"), Err(Refusal::Duplicate));
    assert_eq!(make("b"), Ok(()));
    assert_eq!(make("a"), Err(Refusal::Duplicate));
    assert_eq!(make("c"), Ok(()), "two more than a");
    assert_eq!(make("a"), Ok(()));
}

#[test]
fn a_handle_is_stale_once_its_lot_has_completed() {
    let plan = Plan { capacity: Capacity { lots: 2, remembered_codes: 0 }, ..single_stage(1, 1) };
    let mut factory = Factory::new(&plan, START);
    let mut out = Outputs::new();
    let first = Arrival::new(0, "a", Priority::Normal).offer(&mut factory, &mut out).unwrap();
    let second = Arrival::new(0, "b", Priority::Normal).offer(&mut factory, &mut out).unwrap();
    assert!(matches!(factory.lot(first), Some(LotState::Processing(StageId(0), _))));
    assert_eq!(factory.lot(second), Some(LotState::Queued(StageId(0))));

    let end = factory.advance(A_DAY, usize::MAX, &mut out);
    assert_eq!((factory.lot(first), factory.lot(second)), (None, None));
    let again = Arrival { at: end, ..Arrival::new(0, "a", Priority::Normal) }.offer(&mut factory, &mut out).unwrap();
    assert_eq!(again.index, first.index, "its place is used again");
    assert!(factory.lot(first).is_none() && factory.lot(again).is_some());
}

#[test]
fn a_site_makes_as_many_lots_as_its_slowest_stage() {
    let plan = shipped(1);
    // Mean work is 40, 30, 60 and 20 minutes; Italia has 3, 2, 1 and 1 machines, Vietnam 4, 3, 2 and 2.
    assert_eq!([SiteId(0), SiteId(2)].map(|site| plan.lots_per_hour(site)), [1.0, 2.0]);
}
