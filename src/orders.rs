//! Made-up orders: what `send` puts into the topic and what `--demo` feeds to the factory.

use crate::factory::plan::Plan;
use crate::units::{Priority, SimTime, SiteId};
use crate::wire::Utc;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::Serialize;

const CLIENTS: [&str; 12] = [
    "Acme Corp",
    "Bar Centrale",
    "Caffè Fiorentino",
    "Café do Ponto",
    "Cà Phê Sài Gòn",
    "Espresso Nord",
    "Gran Hotel Milano",
    "Hanoi Roasters",
    "Moka & Figli",
    "Padaria Paulista",
    "Stazione Termini Bar",
    "Torrefazione Etna",
];

/// Out of ten orders so many are `alta`; `bassa` follows, the rest is `normale`.
const HIGH_OF_TEN: u64 = 2;
const LOW_OF_TEN: u64 = 2;

/// An endless row of orders over all sites, priorities and quantities, the same for the same seed. Sites get their share by
/// how many lots an hour they can make.
#[derive(Clone, Debug)]
pub struct Generator {
    draws: SplitMix64,
    /// Tells the codes of this row from those of another seed.
    tag: u32,
    made: u64,
    /// Site names with the running sum of their lots an hour.
    sites: Vec<(Box<str>, f64)>,
}

/// A made-up order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOrder {
    /// `codice_lotto`
    pub code: String,
    /// The whole order as on the wire.
    pub json: String,
}

/// The order as the documentation writes it.
#[derive(Serialize)]
struct WireOrder<'a> {
    codice_lotto: &'a str,
    cliente: &'a str,
    quantita: u64,
    location: &'a str,
    priorita: &'a str,
    timestamp: String,
}

impl Generator {
    /// The row of this seed.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let mut draws = SplitMix64::seed_from_u64(seed);
        let tag = draws.next_u64() as u32;
        let mut sum = 0.0;
        let shares = (0u16..).zip(&plan.sites).map(|(id, site)| {
            sum += plan.lots_per_hour(SiteId(id));
            (site.name.clone(), sum)
        });
        let sites = shares.collect();
        Self { draws, tag, made: 0, sites }
    }

    /// Lots an hour that all sites together can make.
    #[must_use]
    pub fn lots_per_hour(&self) -> f64 {
        self.sites.last().map_or(0.0, |(_, sum)| *sum)
    }

    /// The next order, placed at `at`.
    pub fn next(&mut self, at: SimTime) -> MadeOrder {
        self.made += 1;
        let code = format!("L-{:08X}-{:04}", self.tag, self.made);
        let share = self.unit() * self.lots_per_hour();
        let location = self.sites.iter().find(|(_, sum)| share < *sum).map_or("", |(name, _)| name);
        let client = CLIENTS[(self.draws.next_u64() % CLIENTS.len() as u64) as usize];
        let priority = match self.draws.next_u64() % 10 {
            n if n < HIGH_OF_TEN => Priority::High,
            n if n < HIGH_OF_TEN + LOW_OF_TEN => Priority::Low,
            _ => Priority::Normal,
        };
        let quantity = (self.draws.next_u64() % 50 + 1) * 10;
        let order = WireOrder {
            codice_lotto: &code,
            cliente: client,
            quantita: quantity,
            location,
            priorita: priority.as_str(),
            timestamp: Utc(at).to_string(),
        };
        let json = serde_json::to_string(&order).unwrap_or_default();
        MadeOrder { code, json }
    }

    /// A draw from 0 up to 1.
    fn unit(&mut self) -> f64 {
        (self.draws.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
