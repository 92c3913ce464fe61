//! Memory of the core: none is asked for in steady state, and never more than computed before the start. A binary of its own
//! with a single test, because it counts what the whole process allocates.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "factory/world.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod world;

use mokasim::factory::outputs::Outputs;
use mokasim::factory::plan::{Capacity, Plan, Site};
use mokasim::factory::{Factory, Order, Refusal};
use mokasim::units::{Priority, SimTime, SiteId, Span};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::fmt::Write as _;
use world::{START, shipped};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn memory_is_bounded_and_then_left_alone() {
    steady_state_allocates_nothing();
    memory_needs_are_an_upper_bound();
    machines_cost_what_is_computed();
}

/// The factory's copy of the plan and the test's outputs.
const PLAN_BYTES: u64 = 20_000;

/// A factory that is kept full, tick by tick.
struct FullFactory {
    factory: Factory,
    out: Outputs,
    code: String,
    now: SimTime,
    offered: u32,
}

impl FullFactory {
    fn tick(&mut self) {
        loop {
            self.code.clear();
            write!(self.code, "L-2025-{:06}", self.offered).unwrap();
            let site = SiteId((self.offered % 3) as u16);
            let priority = Priority::ALL[self.offered as usize % 3];
            let order = Order { code: &self.code, client: "Acme Corp", quantity: 100, site, priority };
            match self.factory.offer(self.now, &order, &mut self.out) {
                Ok(_) => self.offered += 1,
                Err(Refusal::Full) => break,
                Err(refusal) => panic!("{}: {refusal:?}", self.code),
            }
        }
        self.now = self.now + Span(100_000);
        while self.factory.next_due() <= self.now {
            self.factory.advance(self.now, 1000, &mut self.out);
            self.out.clear();
        }
    }
}

fn steady_state_allocates_nothing() {
    let plan = Plan {
        capacity: Capacity { lots: 100, remembered_codes: 500 },
        block_probability: 0.3,
        telemetry_interval: Span::from_secs(60),
        ..shipped(1)
    };
    let factory = Factory::new(&plan, START);
    let mut full = FullFactory { factory, out: Outputs::new(), code: String::with_capacity(64), now: START, offered: 0 };
    while full.offered < 1500 {
        full.tick();
    }
    let region = Region::new(ALLOCATOR);
    while full.offered < 3000 {
        full.tick();
    }
    let change = region.change();
    assert!(full.factory.counts().completed_lots > 2500);
    assert_eq!((change.allocations, change.reallocations, change.deallocations), (0, 0, 0));
}

/// The longest codes, and more of them than are remembered.
fn memory_needs_are_an_upper_bound() {
    let mut plan = Plan { capacity: Capacity { lots: 3000, remembered_codes: 9000 }, ..shipped(1) };
    for stage in &mut plan.stages {
        stage.duration.min = Span(1);
        stage.duration.max = Span(2);
    }
    let mut out = Outputs::new();
    let region = Region::new(ALLOCATOR);
    let mut factory = Factory::new(&plan, START);
    let mut now = START;
    let mut held_max = 0;
    for n in 0..20_000 {
        let code = char::from_u32(0x1_0000 + n).unwrap().to_string().repeat(64);
        let order = Order { code: &code, client: "", quantity: 1, site: SiteId(0), priority: Priority::Low };
        let before = region.change();
        out.clear();
        while factory.offer(now, &order, &mut out).is_err() {
            now = factory.advance(factory.next_due(), usize::MAX, &mut out);
            out.clear();
        }
        held_max = held_max.max(before.bytes_allocated - before.bytes_deallocated);
    }
    let needs = Factory::memory_needs(&plan).total_bytes;
    let held_max = held_max as u64;
    assert!(held_max <= needs + PLAN_BYTES, "{held_max} bytes held, {needs} computed");
    assert!(needs < held_max * 11 / 10, "{needs} bytes computed, only {held_max} held");
}

fn machines_cost_what_is_computed() {
    let bytes = |machines| {
        let plan = shipped(1);
        let site = Site { machines: vec![machines; 4], ..plan.sites[0].clone() };
        let plan = Plan { sites: vec![site], ..plan };
        let region = Region::new(ALLOCATOR);
        let factory = Factory::new(&plan, START);
        let change = region.change();
        assert_eq!(factory.counts().machines_total, 4 * machines);
        (change.bytes_allocated - change.bytes_deallocated) as u64
    };
    let each = (bytes(2000) - bytes(1000)) / 4000;
    assert_eq!(each, Factory::memory_needs(&shipped(1)).machine_bytes);
}
