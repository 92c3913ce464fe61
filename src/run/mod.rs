//! Wires a live factory together and runs its loop.

mod dump;
mod feed;
mod intake;
mod production;
mod reread;
mod signals;
mod story;
mod supervisor;

pub use reread::Reread;
pub use signals::{SIGNALS, Stop};

use crate::api::{self, ApiSender};
use crate::bus::{self, Bus, spool::Lock};
use crate::clock::{self, SimClock, Ticker};
use crate::config::{Config, Inputs, Speed};
use crate::error::{Exit, Failure};
use crate::health::{self, snapshot::Snapshot};
use crate::orders::Generator;
use crate::units::{SimTime, Span};
use crate::wire::Utc;
use crate::wire::{Encoder, run_id};
use crossbeam_channel::Receiver;
use feed::{Demo, Feed, OrderFile};
use log::{info, warn};
use production::Production;
use signals::Wish;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use story::StatusLine;
use supervisor::Supervisor;

/// Orders taken from the bus in one poll, with `batch_processing`.
const ORDERS_A_POLL_MAX: usize = 256;
/// The longest rest without a look at the signals.
const REST_MAX: Duration = Duration::from_millis(500);
/// A fast clock goes on while less than this waits: what the bus sends at once, and a little more. Memory that is written again
/// soon is warm, and a lead is good for nothing.
const LEAD_BYTES_MAX: u64 = 5 << 20;
/// How long a fast clock waits for the bus before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(10);
/// After a signal, records may still leave for so long.
const FLUSH_MAX: Duration = Duration::from_millis(2_000);
/// How long records for the external API may still leave.
const API_FLUSH_MAX: Duration = Duration::from_millis(500);

/// What `run` was asked for, besides the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Simulated time begins here, instead of at the wall clock's now.
    pub start: Option<SimTime>,
    /// The built-in trickle of orders, at so many lots a simulated minute if given.
    pub demo: Option<Option<f64>>,
    /// Orders come from this file (`-` for standard input) and not from the bus.
    pub orders: Option<String>,
    /// Leave once every order has completed and every record is acknowledged.
    pub until_idle: bool,
    /// Leave after so much simulated time.
    pub duration: Option<Span>,
}

/// Runs a factory until it is done or a signal comes. SIGHUP reads `reread` again.
///
/// # Errors
/// Something it needs is not to be had; the message says what.
pub fn run(config: Config, options: &Options, reread: &Reread) -> Result<(), Failure> {
    let stop = Stop::on_signal()?;
    let (to_reread, to_dump) = (Wish::to_reread()?, Wish::to_dump()?);
    let mut live = Live::start(config, options, &reread.inputs)?;
    while !stop.is_wanted() {
        let now = clock::now();
        if live.ticker.due() <= now {
            live.ticker.begin(now);
            live.observe(now);
            if to_reread.take() {
                live.reading = Some(reread.clone().begin());
            }
            live.take_reread(now);
            if to_dump.take() {
                live.dump(now);
            }
        }
        let pace = live.step(now)?;
        if live.is_finished() {
            break;
        }
        live.rest(pace, &stop);
    }
    live.finish(&stop)
}

/// How a step left the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// All that is due is done: rest until the next tick.
    UpToDate,
    /// More is due at once.
    Behind,
    /// More is due, and the bus has no room for it.
    NoRoom,
}

struct Live {
    clock: Option<SimClock>,
    end: SimTime,
    until_idle: bool,
    consumes: bool,
    orders_a_poll: usize,
    status_interval: Duration,
    status_due: Instant,
    origin: Instant,
    ticker: Ticker,
    production: Production,
    bus: Box<dyn Bus>,
    claim: Option<Lock>,
    api: Option<ApiSender>,
    health: health::Handle,
    /// What of the snapshot never changes.
    identity: Snapshot,
    intake_paused: bool,
    supervisor: Supervisor,
    /// The configuration, while it is read again.
    reading: Option<Receiver<Config>>,
}

impl Live {
    fn start(mut config: Config, options: &Options, inputs: &Inputs) -> Result<Self, Failure> {
        let origin = clock::now();
        let seed = config.simulation.seed.unwrap_or_else(draw_seed);
        config.plan.seed = seed;
        let start = options.start.unwrap_or_else(|| SimTime(clock::wall_ms()));
        let run_id = run_id(config.plan.fingerprint(start));
        let encoder = Encoder::new(&config.plan, &config.kafka.topics, &run_id)
            .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        let feed = match (&options.orders, options.demo) {
            (Some(path), _) => Feed::File(Box::new(OrderFile::open(path, start)?)),
            (None, Some(rate)) => Feed::Demo(Box::new(Demo::new(Generator::new(&config.plan, seed), start, rate))),
            (None, None) => Feed::None,
        };
        let consumes = options.orders.is_none();
        let claim = bus::claim(&config)?;
        let bus = bus::open(&config, consumes)?;
        let api_target = config.api.endpoint.take().filter(|_| config.api.enabled);
        let api =
            api_target.map(|target| ApiSender::start(target, config.api.key.take(), &api::Limits::default())).transpose();
        let api = api.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("cannot start the thread of the external API: {error}"))
        })?;
        let clock = match config.simulation.speed {
            Speed::Times(speed) => Some(SimClock::new(origin, start, speed)),
            Speed::Max => None,
        };
        let identity = Snapshot {
            kafka_broker: bus::address(&config),
            seed,
            run_id,
            speed: match config.simulation.speed {
                Speed::Times(speed) => Some(speed),
                Speed::Max => None,
            },
            ..Snapshot::default()
        };
        let health = health::start(&config.health_check, origin, identity.clone())
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        announce(&config, options, inputs, &identity, start, health.addr());
        Ok(Self {
            clock,
            end: options.duration.map_or(SimTime::NEVER, |span| start + span),
            until_idle: options.until_idle,
            consumes,
            orders_a_poll: if config.simulation.batch_processing { ORDERS_A_POLL_MAX } else { 1 },
            status_interval: config.simulation.status_report_interval,
            status_due: origin + config.simulation.status_report_interval,
            origin,
            ticker: Ticker::new(origin, config.simulation.tick),
            production: Production::new(config.plan, start, feed, encoder),
            bus,
            claim,
            api,
            health,
            identity,
            intake_paused: false,
            supervisor: Supervisor::ready(),
            reading: None,
        })
    }

    /// One turn: simulated time goes on, records go out, orders come in. All of it is bounded.
    fn step(&mut self, now: Instant) -> Result<Pace, Failure> {
        let fast = self.clock.is_none();
        if !self.publish() || (fast && self.is_ahead()) {
            self.poll(now, 0);
            return Ok(Pace::NoRoom);
        }
        let reached = match &self.clock {
            Some(clock) => self.production.advance(clock.at(now).min(self.end))?,
            None if !self.production.read_ahead()? => true,
            None if self.is_at_rest() && self.end < SimTime::NEVER => self.production.advance(self.end)?,
            None => self.production.advance_by_events(self.end)?,
        };
        self.intake_paused = !self.bus.has_room();
        let published = self.publish();
        // A fast clock takes orders wherever it stands: it would else make all it has before it takes the next.
        let takes = (reached || fast) && published && !self.intake_paused;
        self.poll(now, if takes { self.orders_a_poll } else { 0 });
        Ok(match (published && self.publish(), reached) {
            (false, _) => Pace::NoRoom,
            (true, false) => Pace::Behind,
            (true, true) => Pace::UpToDate,
        })
    }

    fn publish(&mut self) -> bool {
        self.production.publish(&mut *self.bus, self.api.as_mut(), self.clock.is_none())
    }

    fn poll(&mut self, now: Instant, orders_max: usize) {
        let production = &mut self.production;
        self.bus.poll(now, orders_max, &mut |incoming| production.take(incoming));
    }

    fn is_ahead(&self) -> bool {
        !self.bus.has_room() || self.bus.status().outbox_bytes > LEAD_BYTES_MAX
    }

    /// Whether every order there is at present has been taken.
    fn is_drained(&self) -> bool {
        self.production.is_fed() && (!self.consumes || self.bus.status().consumer_lag == Some(0))
    }

    /// Whether nothing will happen of itself and no order is on its way: a fast clock may jump to the end.
    fn is_at_rest(&self) -> bool {
        self.production.next_event() == SimTime::NEVER && self.is_drained()
    }

    fn is_finished(&self) -> bool {
        if self.production.at() >= self.end {
            return true;
        }
        self.until_idle && self.production.is_idle() && self.is_drained() && self.bus.status().outbox_records == 0
    }

    /// Rests until the next tick, and lets the bus work when something arrives for it.
    fn rest(&mut self, pace: Pace, stop: &Stop) {
        let fast = self.clock.is_none();
        loop {
            let now = clock::now();
            let until = match pace {
                Pace::Behind => return,
                Pace::NoRoom => self.ticker.due().min(now + ROOM_WAIT),
                Pace::UpToDate => self.ticker.due(),
            };
            if until <= now || stop.is_wanted() {
                return;
            }
            self.bus.wait(now, until.min(now + REST_MAX));
            if fast || pace == Pace::NoRoom {
                return;
            }
            let now = clock::now();
            if now < until {
                self.poll(now, 0);
            }
        }
    }

    /// Shows the outside how things stand.
    fn observe(&mut self, now: Instant) {
        self.supervisor.tick(now);
        let bus = self.bus.status();
        let orders = self.production.order_counts();
        let factory = self.production.counts();
        let lateness = self.ticker.lateness();
        self.health.publish(
            now,
            Snapshot {
                uptime_seconds: now.saturating_duration_since(self.origin).as_secs_f64(),
                simulated_ms: self.production.at().0,
                connected: bus.connected,
                trouble: bus.trouble.clone(),
                factory,
                orders_accepted: orders.accepted,
                orders_rejected: orders.rejected,
                orders_skipped: orders.skipped,
                orders_elsewhere: orders.elsewhere,
                intake_paused: self.intake_paused,
                consumer_lag: bus.consumer_lag,
                outbox_records: bus.outbox_records,
                outbox_bytes: bus.outbox_bytes,
                records_acknowledged: bus.acknowledged,
                records_dropped: bus.dropped,
                records_refused: bus.refused,
                bus_errors: bus.errors,
                api: self.api.as_ref().map(ApiSender::counts),
                ticks: lateness.ticks(),
                tick_lateness: lateness.cumulative().collect(),
                tick_lateness_sum_us: lateness.sum_us(),
                ..self.identity.clone()
            },
        );
        if self.status_due <= now {
            self.status_due = now + self.status_interval;
            info!("{}", StatusLine { at: self.production.at(), counts: factory, orders, bus: &bus });
            // Not at each tick: with a broker, nothing else of one waits for the disk.
            if let Some(claim) = &mut self.claim {
                claim.keep();
            }
        }
    }

    /// Lets the records that wait leave: as long as it takes at the end of a run, for a moment after a signal.
    fn finish(mut self, stop: &Stop) -> Result<(), Failure> {
        Supervisor::stopping();
        let mut give_up = None;
        let closed = loop {
            let now = clock::now();
            if self.ticker.due() <= now {
                self.ticker.begin(now);
                self.observe(now);
            }
            if stop.is_wanted() {
                give_up.get_or_insert(now + FLUSH_MAX);
            }
            let closed = self.publish() && self.bus.close(now);
            self.poll(now, 0);
            let closed = closed && self.bus.status().outbox_records == 0;
            if closed || give_up.is_some_and(|give_up| give_up <= now) {
                break closed;
            }
            self.bus.wait(now, now + ROOM_WAIT);
        };
        if let Some(api) = self.api.take() {
            let api = api.close(API_FLUSH_MAX);
            info!(
                "external API: {} records sent, {} failed, {} dropped, {} left unsent",
                api.sent, api.failed, api.dropped, api.queued
            );
        }
        let bus = self.bus.status();
        let (at, counts, orders) = (self.production.at(), self.production.counts(), self.production.order_counts());
        info!("{}", StatusLine { at, counts, orders, bus: &bus });
        match bus.outbox_records + self.production.unpublished() {
            0 if closed => info!("stopped: every record is acknowledged"),
            0 => warn!("stopped: every record is acknowledged, but not how far orders were read: the last may come again"),
            left => warn!("stopped: {left} records were left unsent"),
        }
        Ok(())
    }
}

/// A seed for a run that was given none: 53 bits, so that it survives JSON readers that know only doubles.
pub fn draw_seed() -> u64 {
    RandomState::new().hash_one(0u8) >> 11
}

/// Tells whoever started it what runs and where to look.
fn announce(
    config: &Config,
    options: &Options,
    inputs: &Inputs,
    identity: &Snapshot,
    start: SimTime,
    health: std::net::SocketAddr,
) {
    let plan = &config.plan;
    let program = std::env::args().next().unwrap_or_else(|| "mokasim".to_owned());
    let speed = identity.speed.map_or("as fast as the bus takes the records".to_owned(), |speed| format!("at {speed}x"));
    let (sites, machines) = (plan.played_sites().map(|site| &*site.name).collect::<Vec<_>>(), plan.machines_total());
    info!("plants: {}; {machines} machines, {speed}, simulated time starts at {}", sites.join(", "), Utc(start));
    info!("seed {}, run {}", identity.seed, identity.run_id);
    if let Some(note) = config.unused_broker() {
        warn!("{note}");
    }
    if let Some(note) = config.unused_api_key() {
        warn!("{note}");
    }
    info!("health at http://{health}/health, figures at http://{health}/metrics");
    let named = inputs.named().map(|path| format!(" --config {}", path.display())).unwrap_or_default();
    let dir = config.spool.dir.display();
    let topic = &config.kafka.topics.orders;
    let (records, topic, whither) = if config.kafka.bootstrap_servers.is_empty() {
        (format!("{dir}/*.jsonl"), format!("{dir}/{topic}.jsonl"), format!("--data {dir}"))
    } else {
        let broker = &identity.kafka_broker;
        (format!("the Kafka broker {broker}"), format!("its topic {topic}"), format!("--broker {broker}"))
    };
    let orders = options.orders.as_deref().map(|path| if path == "-" { "standard input" } else { path });
    info!("records go to {records}, orders come from {}", orders.unwrap_or(&topic));
    if orders.is_none() {
        info!("send more: {program} send --mode batch --count 5{named} {whither}");
    }
}
