//! Which brokers are away or silent: told to the log once at each end, and to the health page while it lasts.

use super::super::error::Failure;
use super::super::link::{Lane, Link, Target};
use super::super::settings::Endpoint;
use super::super::told::{Shown, Told};
use super::Cluster;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A broker that owes an answer and says nothing at all is told of after so long: well before its connection is given up for that,
/// and longer than a healthy one pauses.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// While a broker is away, the cluster is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// More are not watched, whatever a cluster says its brokers are.
const ENDPOINTS_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// By where they are: whether the log was told of their failure, and whether that is an absence.
    endpoints: HashMap<Endpoint, Told<bool>>,
    /// When brokers that were away, and that the cluster names again, are sought next.
    seek_at: Option<Instant>,
    shown: Shown<Concern>,
}

#[derive(Debug, PartialEq, Eq)]
enum Concern {
    /// No broker is connected. Failures so far: the reason is the last one.
    Away { errors: u64 },
    /// A broker owes an answer for so many seconds.
    Silent { target: Target, seconds: u64 },
    /// A broker keeps a quota, and listens again in so many seconds.
    Throttled { target: Target, seconds: u64 },
}

impl Watch {
    /// A connection failed, the `failures`th time in a row. Logged once however many connections to the broker fail and whatever
    /// becomes of the attempts to connect again; once more when the failure is of another kind: it is there, and refuses us.
    pub(super) fn failed(&mut self, endpoint: &Endpoint, failure: &Failure, failures: u32, now: Instant) {
        let is_absence = failure.is_absence();
        let is_known = self.endpoints.get(endpoint).is_some_and(Told::is_in_trouble);
        // Another connection to the broker is back already.
        let is_late_echo = is_absence && failures > 1 && !is_known;
        if !is_late_echo && self.told(endpoint, now).is_some_and(|told| told.begins(is_absence, now)) {
            log::warn!("Kafka broker {endpoint}: {failure}");
        } else {
            log::debug!("Kafka broker {endpoint}: {failure}");
        }
    }

    fn told(&mut self, endpoint: &Endpoint, now: Instant) -> Option<&mut Told<bool>> {
        if self.endpoints.len() >= ENDPOINTS_MAX {
            self.endpoints.retain(|_, told| !told.is_forgettable(now));
        }
        if self.endpoints.len() < ENDPOINTS_MAX || self.endpoints.contains_key(endpoint) {
            return Some(self.endpoints.entry(endpoint.clone()).or_default());
        }
        None
    }

    /// A broker has answered a request on a connection that has stood since then. An older one than its trouble proves nothing: a
    /// broker that is killed closes its connections one after the other.
    pub(super) fn answered(&mut self, endpoint: &Endpoint, standing_since: Instant, now: Instant) {
        let told = self.endpoints.get_mut(endpoint);
        let told = told.filter(|told| told.since().is_some_and(|since| standing_since > since));
        if let Some(away) = told.and_then(|told| told.ends(now)) {
            log::info!("Kafka broker {endpoint}: connected again after {:.1} s", away.as_secs_f64());
        }
    }

    fn is_away(&self, endpoint: &Endpoint) -> bool {
        self.endpoints.get(endpoint).is_some_and(Told::is_in_trouble)
    }

    /// When to look again whether brokers are back, if any is away.
    pub(super) fn look_again(&self) -> Option<Duration> {
        self.endpoints.values().any(Told::is_in_trouble).then_some(LOOK_AGAIN)
    }
}

impl Cluster {
    /// What is wrong with the connection to the cluster, if something is.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Arc<str>> {
        self.watch.shown.trouble()
    }

    /// Since when a broker can be talked to.
    #[must_use]
    pub fn connected_since(&self) -> Option<Instant> {
        self.links.values().filter_map(Link::established_since).min().filter(|_| self.is_connected())
    }

    /// Since when this broker can be talked to, for what is answered soon.
    #[must_use]
    pub fn established_since(&self, broker: i32) -> Option<Instant> {
        self.links.get(&Target { broker, lane: Lane::Main })?.established_since()
    }

    /// Opens a connection to the brokers that were away and that the cluster names again: their answer proves that they are back,
    /// though nothing else may be asked of them for a while.
    pub(super) fn seek_absent(&mut self, now: Instant) {
        if self.watch.seek_at.is_some_and(|at| at > now) {
            return;
        }
        self.watch.seek_at = Some(now + LOOK_AGAIN);
        let named = self.metadata.broker_ids().filter_map(|id| Some((id, self.metadata.broker(id)?)));
        for (broker, endpoint) in named.filter(|(_, endpoint)| self.watch.is_away(endpoint)) {
            let target = Target { broker, lane: Lane::Main };
            self.links.entry(target).or_insert_with(|| Link::new(endpoint.clone())).want();
        }
    }

    /// A broker that was away, is connected again, and has still to prove it by an answer.
    pub(super) fn returning(&self) -> Option<Target> {
        let is_returning = |link: &Link| {
            let connection = link.connection().filter(|connection| connection.is_ready() && !connection.has_answered());
            connection.is_some() && self.watch.is_away(link.endpoint())
        };
        self.links.iter().find(|(target, link)| target.lane == Lane::Main && is_returning(link)).map(|(target, _)| *target)
    }

    pub(super) fn show_trouble(&mut self, now: Instant) {
        let concern = if self.problems().next().is_some() && !self.is_connected() {
            Some(Concern::Away { errors: self.errors })
        } else {
            let silent = self.silent(now).map(|(target, silence)| Concern::Silent { target, seconds: silence.as_secs() });
            silent.or_else(|| {
                let (target, left) = self.throttling(now)?;
                Some(Concern::Throttled { target, seconds: left.as_secs() })
            })
        };
        let links = &self.links;
        self.watch.shown.show(concern, |concern| match concern {
            Concern::Away { .. } => {
                let failures = links.values().filter_map(|link| Some((link.endpoint(), link.last_failure()?)));
                failures.map(|(endpoint, failure)| format!("{endpoint}: {failure}")).next().unwrap_or_default()
            }
            Concern::Silent { target, seconds } => {
                let endpoint = links.get(target).map(|link| link.endpoint().to_string()).unwrap_or_default();
                format!("broker {endpoint} has not answered for {seconds} s")
            }
            Concern::Throttled { target, seconds } => {
                let endpoint = links.get(target).map(|link| link.endpoint().to_string()).unwrap_or_default();
                format!("broker {endpoint} keeps a quota: it serves us again in {seconds} s")
            }
        });
    }

    /// The broker that takes nothing for the longest, to keep a quota, and for how long. A second at most is no trouble.
    fn throttling(&self, now: Instant) -> Option<(Target, Duration)> {
        let muted = self.links.iter().filter_map(|(target, link)| Some((*target, link.connection()?.muted_until()?)));
        let left = muted.map(|(target, until)| (target, until.saturating_duration_since(now)));
        left.filter(|(_, left)| left.as_secs() >= 1).max_by_key(|(_, left)| *left)
    }

    /// The broker that owes an answer for the longest, and for how long nothing at all has come from it.
    fn silent(&self, now: Instant) -> Option<(Target, Duration)> {
        let connections = || self.links.iter().filter_map(|(target, link)| Some((target, link.connection()?)));
        let silences = connections().filter_map(|(target, connection)| {
            let due = connection.due_since()?;
            let of_broker = connections().filter(|(other, _)| other.broker == target.broker);
            let heard = of_broker.map(|(_, connection)| connection.heard_at()).max()?;
            Some((*target, now.saturating_duration_since(due.max(heard))))
        });
        silences.filter(|(_, silence)| *silence > SILENCE_MAX).max_by_key(|(_, silence)| *silence)
    }
}
