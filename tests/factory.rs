//! The core's promises, from outside.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use mokasim::config;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::Plan;
use mokasim::factory::{Factory, Order};
use mokasim::units::{Priority, SimTime, SiteId};

/// The plan of the shipped configuration.
fn shipped(seed: u64) -> Plan {
    let config = config::load(None, &|_| None, &config::Overrides::default()).unwrap();
    Plan { seed, ..config.plan }
}

#[test]
fn every_accepted_lot_completes_once() {
    let mut factory = Factory::new(&shipped(1), SimTime(0));
    let mut out = Outputs::new();
    for i in 0..200 {
        let code = format!("L-{i}");
        let order = Order { code: &code, client: "Acme", quantity: 100, site: SiteId(i % 3), priority: Priority::Normal };
        factory.offer(SimTime(0), &order, &mut out).unwrap();
    }
    factory.advance(SimTime(i64::MAX / 2), usize::MAX, &mut out);
    assert_eq!(factory.counts().completed_lots, 200);
    assert_eq!(out.iter().filter(|output| matches!(output.what, What::LotCompleted { .. })).count(), 200);
}
