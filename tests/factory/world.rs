//! Plans, orders and runs for the other tests.

use mokasim::config;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::{Capacity, Plan, Range, Site};
use mokasim::factory::{Factory, Order, Refusal};
use mokasim::units::{LotId, Priority, SimTime, SiteId, Span};
use proptest::prelude::*;

/// The documentation's day.
pub(crate) const START: SimTime = SimTime(1_750_865_400_000);

/// The plan of the shipped configuration.
pub(crate) fn shipped(seed: u64) -> Plan {
    let config = config::load(None, &|_| None, &config::Overrides::default()).unwrap();
    Plan { seed, ..config.plan }
}

/// The shipped plan in a hurry: a stage takes seconds instead of minutes, and many lots are blocked.
pub(crate) fn brisk(seed: u64) -> Plan {
    let mut plan = shipped(seed);
    for stage in &mut plan.stages {
        let Range { min, max } = stage.duration;
        stage.duration = Range { min: Span(min.0 / 60), max: Span(max.0 / 60) };
    }
    plan.block_probability = 0.3;
    plan.block_duration = Range { min: Span(500), max: Span(20_000) };
    plan
}

/// One stage, at one site, with so many machines.
pub(crate) fn single_stage(seed: u64, machines: u32) -> Plan {
    let mut plan = shipped(seed);
    plan.stages.truncate(1);
    plan.sites = vec![Site { machines: vec![machines], ..plan.sites[0].clone() }];
    plan.capacity = Capacity { lots: 100, remembered_codes: 100 };
    plan
}

/// An order and when it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: SimTime,
    pub(crate) code: String,
    pub(crate) quantity: u32,
    pub(crate) site: SiteId,
    pub(crate) priority: Priority,
}

impl Arrival {
    /// So many milliseconds after the start, at the first site.
    pub(crate) fn new(after_ms: i64, code: &str, priority: Priority) -> Self {
        Self { at: START + Span(after_ms), code: code.into(), quantity: 100, site: SiteId(0), priority }
    }

    pub(crate) fn offer(&self, factory: &mut Factory, out: &mut Outputs) -> Result<LotId, Refusal> {
        let Self { at, code, quantity, site, priority } = self;
        let order = Order { code, client: "Acme Corp", quantity: *quantity, site: *site, priority: *priority };
        factory.offer(*at, &order, out)
    }
}

/// Up to 60 orders over all sites and priorities, close enough to queue; some arrive together.
pub(crate) fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let order = (0i64..4000, 1u32..500, 0u16..3, 0usize..3);
    prop::collection::vec(order, 1..60).prop_map(|orders| {
        let mut at = START;
        let arrival = |(n, (gap, quantity, site, priority)): (usize, (i64, u32, u16, usize))| {
            at = at + Span((gap - 1000).max(0));
            Arrival { at, code: format!("L-{n}"), quantity, site: SiteId(site), priority: Priority::ALL[priority] }
        };
        orders.into_iter().enumerate().map(arrival).collect()
    })
}

/// How a run is cut into calls of `advance`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tick: Span,
    /// Outputs taken from one call.
    pub(crate) outputs_max: usize,
}

/// All in one call.
pub(crate) const ONE_JUMP: Pace = Pace { tick: Span(i64::MAX), outputs_max: usize::MAX };

/// Runs until `until`, each order offered at its own instant and accepted.
pub(crate) fn run(plan: &Plan, arrivals: &[Arrival], pace: Pace, until: SimTime) -> (Factory, Outputs) {
    let mut factory = Factory::new(plan, START);
    let mut out = Outputs::new();
    let mut arrivals = arrivals.iter().peekable();
    let mut now = START;
    loop {
        now = (now + pace.tick).min(until);
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at <= now) {
            advance(&mut factory, arrival.at, pace.outputs_max, &mut out);
            arrival.offer(&mut factory, &mut out).unwrap();
        }
        advance(&mut factory, now, pace.outputs_max, &mut out);
        if now == until {
            return (factory, out);
        }
    }
}

/// Advances to `to`, taking at most so many outputs from one call.
pub(crate) fn advance(factory: &mut Factory, to: SimTime, outputs_max: usize, out: &mut Outputs) {
    loop {
        let full = out.len().saturating_add(outputs_max);
        let reached = factory.advance(to, full, out);
        assert!(reached <= to && out.len() < full.saturating_add(6), "it reached {reached:?} of {to:?}");
        if factory.next_due() > to {
            assert_eq!(reached, to);
            return;
        }
    }
}

/// Long enough after the start for every lot of [`arrivals`] to be made under [`brisk`].
pub(crate) const A_DAY: SimTime = SimTime(START.0 + 24 * 3_600_000);

/// The codes of the lots that a stage of the first site took up, in order.
pub(crate) fn started(out: &Outputs, stage: u16) -> Vec<&str> {
    let code = |what| match what {
        What::StageStarted { code, machine, .. } if machine.stage.0 == stage && machine.site.0 == 0 => Some(out.text(code)),
        _ => None,
    };
    out.iter().filter_map(|output| code(output.what)).collect()
}
