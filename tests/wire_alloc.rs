//! Encoding allocates nothing once its buffers have grown. A binary of its own with a single test, because it counts what the
//! whole process allocates.

use mokasim::config::{self, Overrides};
use mokasim::factory::outputs::Outputs;
use mokasim::factory::{Factory, Order};
use mokasim::units::{Priority, SimTime, SiteId, Span};
use mokasim::wire::Encoder;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn records_allocate_nothing_in_steady_state() {
    let config = config::load(None, &|_| None, &Overrides::default()).unwrap();
    let mut encoder = Encoder::new(&config.plan, &config.kafka.topics, "0badcafe").unwrap();
    let mut out = Outputs::new();
    // A day of two lots at each site: every kind of record there is.
    let start = SimTime(1_750_865_400_250);
    let mut factory = Factory::new(&config.plan, start);
    for (n, code) in ["L-1", "L-2", "L-3", "L-4", "L-5", "L-6"].into_iter().enumerate() {
        let site = SiteId(n as u16 % 3);
        let order = Order { code, client: "Caffè \"Acme\"", quantity: 100, site, priority: Priority::Normal };
        factory.offer(start, &order, &mut out).unwrap();
    }
    factory.advance(start + Span::from_secs(86_400), usize::MAX, &mut out);
    assert_eq!(factory.counts().completed_lots, 6);

    let mut encode_all = || out.iter().map(|output| encoder.encode(output, &out).record().value.len()).sum::<usize>();
    let bytes = encode_all();
    let region = Region::new(ALLOCATOR);
    assert_eq!(encode_all(), bytes);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}
