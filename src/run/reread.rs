//! SIGHUP: the log is opened anew, and the configuration read again for what can change in flight. A thread does it, as disks
//! may be slow.

use super::Live;
use crate::clock::SimClock;
use crate::config::{Config, IN_FLIGHT, Inputs, Source, Speed, changed_keys};
use crate::logging::Logging;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use log::{error, info, warn};
use std::thread;
use std::time::Instant;

/// What is read again.
#[derive(Clone)]
pub struct Reread {
    /// Where the configuration comes from.
    pub inputs: Inputs,
    /// The file as it was at the start.
    pub source: Option<Source>,
    /// The log.
    pub logging: Logging,
}

impl Reread {
    /// Begins to read; the channel brings the configuration, or closes where there is none to be had.
    pub(super) fn begin(self) -> Receiver<Config> {
        let (done, reading) = bounded(1);
        let read = move || {
            if let Some(config) = self.read() {
                // The loop may have ended meanwhile.
                let _gone = done.send(config);
            }
        };
        if let Err(error) = thread::Builder::new().name("reread".to_owned()).spawn(read) {
            error!("the configuration cannot be read again: {error}");
        }
        reading
    }

    fn read(&self) -> Option<Config> {
        let read = self.inputs.read().map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>());
        let read = read.and_then(|(config, source)| match (&self.source, &source) {
            (Some(before), None) => Err(vec![format!("{}: read at the start and missing now", before.name)]),
            _ => Ok((config, source)),
        });
        if self.logging.reopen(read.as_ref().ok().map(|(config, _)| &config.log)) {
            info!("the log is opened anew");
        }
        match read {
            Ok((config, source)) => {
                info!("the configuration is read again");
                let set = self.inputs.keys_set();
                for key in changed_keys(self.source.as_ref(), source.as_ref()) {
                    if set.contains(&key.as_str()) {
                        warn!("{key} has changed: a flag or an environment variable sets it");
                    } else if !IN_FLIGHT.contains(&key.as_str()) {
                        warn!("{key} has changed: it is taken at the next start only");
                    }
                }
                Some(config)
            }
            Err(problems) => {
                for problem in problems {
                    error!("the configuration stays as it was: {problem}");
                }
                None
            }
        }
    }
}

impl Live {
    /// Takes what was read again, once it is there.
    pub(super) fn take_reread(&mut self, now: Instant) {
        match self.reading.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => {}
            Some(Err(TryRecvError::Disconnected)) => self.reading = None,
            Some(Ok(config)) => {
                self.reading = None;
                self.change(now, &config);
            }
        }
    }

    fn change(&mut self, now: Instant, config: &Config) {
        let status_interval = config.simulation.status_report_interval;
        if self.status_interval != status_interval {
            self.status_interval = status_interval;
            self.status_due = now + status_interval;
            info!("simulation.status_report_interval is now {} s", status_interval.as_secs());
        }
        let interval = config.plan.telemetry_interval;
        if self.production.set_telemetry_interval(interval) {
            info!("simulation.telemetry_interval is now {} s", interval.as_secs_f64());
        }
        if self.health.set_requests_per_second(config.health_check.requests_per_second) {
            info!("health_check.requests_per_second is now {}", config.health_check.requests_per_second);
        }
        match (&mut self.clock, config.simulation.speed) {
            (Some(clock), Speed::Times(speed)) if self.identity.speed != Some(speed) => {
                *clock = SimClock::new(now, clock.at(now), speed);
                self.identity.speed = Some(speed);
                info!("simulation.speed is now {speed}");
            }
            (Some(_), Speed::Max) | (None, Speed::Times(_)) => {
                warn!("simulation.speed has changed from or to \"max\": it is taken at the next start only");
            }
            _ => {}
        }
    }
}
