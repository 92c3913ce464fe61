//! Whether the topic is read: told to the log and to the health page.

use super::super::cluster::Cluster;
use super::super::told::{Shown, Told, describe, has_lasted, known_as, may_pass};
use super::{Fetcher, Partition};
use std::sync::Arc;
use std::time::Instant;

/// Why a partition, or the whole topic, is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The broker says so.
    Code(i16),
    /// A partition has no leader.
    Leaderless,
    /// What came, or what the broker knows, is of no use.
    Useless(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => f.write_str(&describe(*code)),
            Self::Leaderless => f.write_str("a partition has no leader"),
            Self::Useless(why) => f.write_str(why),
        }
    }
}

/// What is wrong, and since when.
#[derive(Debug)]
pub(super) struct Problem {
    cause: Cause,
    since: Instant,
}

impl Problem {
    /// Takes a cause into account; the problem is as old as the first one.
    pub(super) fn note(problem: &mut Option<Self>, cause: Cause, now: Instant) {
        let since = problem.as_ref().map_or(now, |problem| problem.since);
        let cause = if let Cause::Code(code) = cause { Cause::Code(known_as(code)) } else { cause };
        *problem = Some(Self { cause, since });
    }

    /// What passes of itself is none yet.
    fn is_due(&self, connected_since: Instant, now: Instant) -> bool {
        let lasts = matches!(self.cause, Cause::Code(code) if !may_pass(code));
        lasts || has_lasted(self.since, connected_since, now)
    }
}

/// What is known of the topic's trouble.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// What metadata says.
    of_topic: Option<Problem>,
    told: Told<Cause>,
    shown: Shown<Cause>,
}

impl Fetcher {
    /// Why orders are not read, if some are not.
    pub(in super::super) const fn trouble(&self) -> Option<&Arc<str>> {
        self.troubles.shown.trouble()
    }

    /// Looks whether the topic is read. While no broker is connected, that is all there is to say.
    pub(in super::super) fn review(&mut self, now: Instant, cluster: &Cluster) {
        let Some(connected_since) = cluster.connected_since() else { return };
        let Self { troubles, topic, partitions, .. } = self;
        let Troubles { of_topic, told, shown } = troubles;
        match cluster.metadata().topic(topic).map_or(0, |topic| topic.error_code) {
            0 => *of_topic = None,
            code => Problem::note(of_topic, Cause::Code(code), now),
        }
        let problems = partitions.values().filter_map(|Partition { problem, .. }| problem.as_ref());
        let due = of_topic.iter().chain(problems).find(|problem| problem.is_due(connected_since, now));
        let cause = due.map(|problem| problem.cause.clone());
        match &cause {
            Some(cause) if told.begins(cause.clone(), now) => log::warn!("topic {topic}: {cause}, trying to read it again"),
            Some(_) => {}
            None => {
                if let Some(lasted) = told.ends(now) {
                    log::info!("topic {topic}: read again after {:.1} s", lasted.as_secs_f64());
                }
            }
        }
        shown.show(cause, |cause| format!("topic {topic} is not read: {cause}"));
    }
}
