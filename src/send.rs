//! The test lot sender: made-up orders into the topic, counted when they are acknowledged.

use crate::bus::{self, Bus, Taken, spool};
use crate::clock;
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::orders::{Generator, MadeOrder};
use crate::run::Stop;
use crate::units::SimTime;
use crate::wire::{Record, TopicId, Topics};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who acknowledges nothing for so long is not there: longer than a cluster needs to notice that a broker is frozen.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// After Ctrl-C, orders on their way may still arrive for so long.
const FLUSH_MAX: Duration = Duration::from_millis(2_500);
/// What nothing was acknowledged for so long for is told.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at the bus.
const TURN: Duration = Duration::from_millis(20);
/// Orders handed over in one turn.
const ORDERS_A_TURN_MAX: u64 = 1_000;

/// When orders are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// So many at once.
    Batch(u64),
    /// So many a minute, until the time is over or a signal comes.
    Continuous {
        /// Orders a minute.
        rate: f64,
        /// For how long.
        duration: Option<Duration>,
    },
}

impl Schedule {
    /// Orders due after `elapsed`; the first one at once.
    fn due(self, elapsed: Duration) -> u64 {
        match self {
            Self::Batch(count) => count,
            Self::Continuous { rate, duration } => {
                let elapsed = duration.map_or(elapsed, |duration| elapsed.min(duration));
                let due = (elapsed.as_secs_f64() / 60.0 * rate) as u64 + 1;
                self.total().map_or(due, |total| due.min(total))
            }
        }
    }

    /// Orders in all, if there is an end.
    fn total(self) -> Option<u64> {
        match self {
            Self::Batch(count) => Some(count),
            Self::Continuous { rate, duration } => {
                duration.map(|duration| ((duration.as_secs_f64() / 60.0 * rate).ceil() as u64).max(1))
            }
        }
    }
}

/// Sends orders and returns the line that says what was acknowledged.
///
/// # Errors
/// The folder cannot be written, or the broker acknowledged less than was sent.
pub fn send(config: &Config, schedule: Schedule, seed: u64) -> Result<String, Failure> {
    let stop = Stop::on_signal()?;
    if let Some(note) = config.unused_broker() {
        tell(&note);
    }
    let mut generator = Generator::new(&config.plan, seed);
    let mut target = Target::open(config)?;
    let progress = progress_bar(schedule);
    let origin = clock::now();
    let mut sent = 0;
    let mut give_up = origin + SILENCE_MAX;
    let mut acknowledged = 0;
    let mut waiting = Waiting { since: origin, told: None };
    loop {
        let now = clock::now();
        if stop.is_wanted() {
            give_up = give_up.min(now + FLUSH_MAX);
        } else {
            let due = schedule.due(now.saturating_duration_since(origin));
            sent += target.push(&mut generator, due.saturating_sub(sent).min(ORDERS_A_TURN_MAX))?;
        }
        let before = acknowledged;
        acknowledged = target.acknowledged(now);
        progress.set_position(acknowledged);
        let all_sent = stop.is_wanted() || schedule.total() == Some(sent);
        if acknowledged == sent && all_sent {
            break;
        }
        if acknowledged > before || acknowledged == sent {
            give_up = now + SILENCE_MAX;
            waiting.since = now;
        }
        let refused = target.refused();
        if give_up <= now || (refused > 0 && all_sent && acknowledged + refused == sent) {
            break;
        }
        waiting.tell(&target, now, &progress);
        target.wait(now);
    }
    progress.finish_and_clear();
    let summary = format!("{acknowledged} of {sent} orders acknowledged by {}, seed {seed}", bus::address(config));
    if acknowledged == sent {
        return Ok(summary);
    }
    let why = target.trouble().or(waiting.told).map(|why| format!(": {why}")).unwrap_or_default();
    Err(Failure::new(Exit::Unavailable, summary + &why))
}

fn tell(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _closed = writeln!(io::stderr(), "{line}");
}

/// What a sender waits for, told once.
struct Waiting {
    since: Instant,
    told: Option<Arc<str>>,
}

impl Waiting {
    fn tell(&mut self, target: &Target, now: Instant, progress: &ProgressBar) {
        let Some(why) = target.trouble().filter(|_| self.since + TELL_AFTER <= now) else { return };
        if self.told.is_none() {
            let silence = now.saturating_duration_since(self.since).as_secs();
            progress.suspend(|| tell(&format!("nothing acknowledged for {silence} s: {why}")));
            self.told = Some(why);
        }
    }
}

/// On a terminal only: indicatif hides it elsewhere.
fn progress_bar(schedule: Schedule) -> ProgressBar {
    let (bar, template) = match schedule.total() {
        Some(total) => (ProgressBar::new(total), "{wide_bar} {pos}/{len} orders acknowledged, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} orders acknowledged"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where orders go.
enum Target {
    /// The orders file of a spool, which may have its factory running beside us.
    Spool {
        dir: PathBuf,
        topics: Topics,
        appended: u64,
    },
    Kafka(Box<dyn Bus>),
}

impl Target {
    fn open(config: &Config) -> Result<Self, Failure> {
        let topics = config.kafka.topics.clone();
        if config.kafka.bootstrap_servers.is_empty() {
            return Ok(Self::Spool { dir: config.spool.dir.clone(), topics, appended: 0 });
        }
        // For the sender, the orders topic is the one it puts records out to.
        let mut config = config.clone();
        config.kafka.topics =
            Topics { orders: String::new(), telemetry: vec![topics.orders], events: String::new(), rejected: String::new() };
        Ok(Self::Kafka(bus::open(&config, false)?))
    }

    /// Hands over the next orders, as many as there is room for, and returns how many.
    fn push(&mut self, generator: &mut Generator, count: u64) -> Result<u64, Failure> {
        let mut pushed = 0;
        match self {
            Self::Spool { dir, topics, appended } => {
                let orders: Vec<_> = (0..count).map(|_| generator.next(wall()).json).collect();
                if count > 0 {
                    spool::append_orders(dir, topics, orders.iter().map(String::as_str))
                        .map_err(|error| bus::spool_failure(&error))?;
                }
                *appended += count;
                pushed = count;
            }
            Self::Kafka(bus) => {
                while pushed < count && bus.has_room() {
                    let at = wall();
                    let MadeOrder { code, json } = generator.next(at);
                    let record = Record {
                        topic: TopicId(0),
                        key: code.as_bytes(),
                        timestamp: at,
                        headers: &[],
                        value: json.as_bytes(),
                    };
                    if bus.publish(&record).is_err() {
                        break;
                    }
                    pushed += 1;
                }
            }
        }
        Ok(pushed)
    }

    fn acknowledged(&mut self, now: Instant) -> u64 {
        match self {
            Self::Spool { appended, .. } => *appended,
            Self::Kafka(bus) => {
                bus.poll(now, 0, &mut |_| Taken::Later);
                bus.close(now);
                bus.status().acknowledged
            }
        }
    }

    /// Orders that the broker will never take.
    fn refused(&self) -> u64 {
        match self {
            Self::Spool { .. } => 0,
            Self::Kafka(bus) => bus.status().refused,
        }
    }

    /// Why orders are not acknowledged.
    fn trouble(&self) -> Option<Arc<str>> {
        let Self::Kafka(bus) = self else { return None };
        let status = bus.status();
        let silent = || Some("no broker has answered".into()).filter(|_| !status.connected);
        status.trouble.map(|trouble| trouble.reason).or_else(silent)
    }

    fn wait(&mut self, now: Instant) {
        match self {
            Self::Spool { .. } => clock::sleep(TURN),
            Self::Kafka(bus) => bus.wait(now, now + TURN),
        }
    }
}

fn wall() -> SimTime {
    SimTime(clock::wall_ms())
}
