//! What the core costs: beside a bare loop of the same model, in memory, and with a hundred thousand machines.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails when it cannot run")]

#[path = "core/bare.rs"]
mod bare;

use bare::Bare;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::{Capacity, Plan, Site};
use mokasim::factory::{Factory, Order};
use mokasim::units::{Priority, SimTime, SiteId, Span};
use mokasim::{clock, config};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::fmt::Write as _;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each measurement is the best of so many.
const RUNS: usize = 9;
const START: SimTime = SimTime(0);
const FOREVER: Span = Span(i64::MAX - 1);
const HOURS_4: Span = Span::from_secs(4 * 3600);
/// The tiny factory's backlog lasts longer than so many times four hours.
const WINDOWS: i64 = 20;
/// A tick of 100 ms at 60x.
const TICK: Span = Span::from_secs(6);

fn main() {
    against_a_bare_loop();
    memory();
    what_exists_against_what_is_due();
}

fn shipped() -> Plan {
    let config = config::load(None, &|_| None, &config::Overrides::default()).unwrap();
    Plan { seed: 1, ..config.plan }
}

/// A factory with this many lots waiting, evenly over the first three sites.
fn backlog(plan: &Plan, lots: usize) -> Factory {
    let mut factory = Factory::new(plan, START);
    let mut out = Outputs::new();
    let mut code = String::new();
    for n in 0..lots {
        code.clear();
        write!(code, "L-2025-{n:07}").unwrap();
        let priority = Priority::ALL[n % 3];
        let order = Order { code: &code, client: "Acme Corp", quantity: 100, site: SiteId((n % 3) as u16), priority };
        factory.offer(START, &order, &mut out).unwrap();
        out.clear();
    }
    factory
}

/// Advances tick by tick from an instant for so long, and counts (transitions, telemetry records).
fn advance(factory: &mut Factory, from: SimTime, span: Span, tick: Span, out: &mut Outputs) -> (u64, u64) {
    let (mut transitions, mut records) = (0, 0);
    for n in 1..=span.0 / tick.0 {
        let now = from + Span(n * tick.0);
        while factory.next_due() <= now {
            out.clear();
            factory.advance(now, 1000, out);
            for output in out.iter() {
                match output.what {
                    What::Telemetry { .. } => records += 1,
                    What::LotReceived { .. } | What::LotCompleted { .. } => {}
                    _ => transitions += 1,
                }
            }
        }
    }
    (transitions, records)
}

fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = clock::now();
    let result = f();
    (clock::now() - start, result)
}

/// The better of two times; what was counted is the same in each.
fn keep<T>(best: &mut Option<(Duration, T)>, found: (Duration, T)) {
    if best.as_ref().is_none_or(|best| found.0 < best.0) {
        *best = Some(found);
    }
}

fn against_a_bare_loop() {
    println!("core against a bare BinaryHeap loop of the same model, shipped plan, a backlog worked off, best of {RUNS}");
    for (what, lots, telemetry_interval) in [
        ("records only at transitions", 20_000, Span::from_secs(1_000_000)),
        ("records every 10 s too", 1000, Span::from_secs(10)),
    ] {
        let capacity = Capacity { lots: lots as u32, remembered_codes: lots as u32 };
        let plan = Plan { telemetry_interval, capacity, ..shipped() };
        let (mut core, mut bare) = (None, None);
        for _ in 0..RUNS {
            let mut out = Outputs::new();
            let mut factory = backlog(&plan, lots);
            keep(&mut core, timed(|| advance(&mut factory, START, FOREVER, FOREVER, &mut out)));
            assert_eq!(factory.counts().completed_lots, lots as u64);
            let mut loop_ = Bare::new(&plan);
            (0..lots).for_each(|n| loop_.offer(n % 3, n % 3));
            keep(&mut bare, timed(|| loop_.run()));
        }
        let rate = |run: Option<(Duration, (u64, u64))>| {
            let (time, (transitions, records)) = run.unwrap();
            let per_s = |count: u64| count as f64 / time.as_secs_f64();
            (per_s(transitions), per_s(records))
        };
        let (core, bare) = (rate(core), rate(bare));
        println!("  {what}:");
        println!("    core {:>9.0} transitions/s {:>9.0} records/s", core.0, core.1);
        println!("    bare {:>9.0} transitions/s {:>9.0} records/s", bare.0, bare.1);
        println!("    ratio core/bare {:.2}", core.0 / bare.0);
    }
}

fn memory() {
    const LOTS: usize = 1_000_000;
    let plan = Plan { capacity: Capacity { lots: LOTS as u32, remembered_codes: 0 }, ..shipped() };
    let needs = Factory::memory_needs(&plan);
    let region = Region::new(ALLOCATOR);
    let factory = backlog(&plan, LOTS);
    let change = region.change();
    let held = change.bytes_allocated - change.bytes_deallocated - needs.codes_bytes as usize;
    println!("memory");
    println!("  lot {} bytes at most, {} held with codes of 14 characters", needs.lot_bytes, held / LOTS);
    println!("  machine {} bytes", needs.machine_bytes);
    println!("  known code {} bytes", needs.codes_bytes / LOTS as u64);
    println!("  shipped plan {} bytes at most", Factory::memory_needs(&shipped()).total_bytes);
    drop(factory);
}

/// The same lots on the same machines, alone and among a hundred thousand machines and a million lots that do nothing yet.
fn what_exists_against_what_is_due() {
    const MACHINES: u32 = 100_000;
    const LOTS: usize = 1_000_000;
    const TINY_LOTS: usize = 3000;
    let tiny = Plan { capacity: Capacity { lots: TINY_LOTS as u32, remembered_codes: 1000 }, ..shipped() };
    let mut huge = Plan { capacity: Capacity { lots: LOTS as u32, remembered_codes: 1000 }, ..shipped() };
    let site = Site { name: "Asia".into(), machines: vec![MACHINES / 4; 4], ..huge.sites[2].clone() };
    huge.sites.push(site);
    println!("a tick of 100 ms at 60x, median of {WINDOWS} times 4 hours");
    let (mut tiny, mut huge) = (backlog(&tiny, TINY_LOTS), backlog(&huge, LOTS));
    let mut ns_each = [const { Vec::new() }; 2];
    let (mut ticks, mut outputs) = (0.0, 0.0);
    let mut out = Outputs::new();
    for window in 0..WINDOWS {
        let from = START + Span(window * HOURS_4.0);
        let [(tiny_time, due), (huge_time, due_too)] =
            [&mut tiny, &mut huge].map(|factory| timed(|| advance(factory, from, HOURS_4, TICK, &mut out)));
        assert_eq!(due, due_too, "the same is due");
        let due = (due.0 + due.1) as f64;
        for (ns_each, time) in ns_each.iter_mut().zip([tiny_time, huge_time]) {
            ns_each.push(time.as_secs_f64() * 1e9 / due);
        }
        ticks += (HOURS_4.0 / TICK.0) as f64;
        outputs += due;
    }
    let [tiny, huge] = ns_each.map(|mut ns_each| {
        ns_each.sort_by(f64::total_cmp);
        ns_each[ns_each.len() / 2]
    });
    for (what, ns) in [("     26 machines,     3,000 lots", tiny), ("100,026 machines, 1,000,000 lots", huge)] {
        let due = outputs / ticks;
        println!("  {what}: {:.2} us a tick with {due:.1} outputs due, {ns:.0} ns each", ns * due / 1e3);
    }
    println!("  ratio huge/tiny {:.2}", huge / tiny);
}
