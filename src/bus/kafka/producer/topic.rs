//! A topic that is written to, and what is wrong with it.

use super::super::told::{Told, describe, has_lasted, known_as};
use super::cause::Cause;
use super::partition::Partition;
use super::verdict::is_lasting;
use std::time::Instant;
use uuid::Uuid;

/// See the module.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Partition>,
    /// What metadata says is wrong, and since when.
    problem: Option<(i16, Instant)>,
    told: Told<Cause>,
    /// Records refused for good since the trouble began.
    lost: u64,
    /// The log has been told that a batch cannot be looked for.
    told_unsearchable: bool,
}

impl Topic {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            id: Uuid::nil(),
            partitions: Vec::new(),
            problem: None,
            told: Told::default(),
            lost: 0,
            told_unsearchable: false,
        }
    }

    /// Takes the error code of a metadata answer.
    pub(super) fn note(&mut self, code: i16, now: Instant) {
        let code = known_as(code);
        let since = self.problem.filter(|(known, _)| *known == code).map_or(now, |(_, since)| since);
        self.problem = Some((code, since)).filter(|_| code != 0);
    }

    /// The broker will never take so many records.
    pub(super) fn lose(&mut self, records: u32, code: i16, now: Instant) {
        self.lost += u64::from(records);
        if self.told.begins(Cause::Code(code), now) {
            let Self { name, lost, .. } = self;
            log::error!("topic {name}: {}: the broker will never take such records; lost: {lost}", describe(code));
        }
    }

    /// A batch whose answer was lost cannot be looked for. That is said once.
    pub(super) fn tell_unsearchable(&mut self, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.told_unsearchable, true) {
            log::warn!("topic {}: a batch whose answer was lost cannot be looked for, and may come twice: {why}", self.name);
        }
    }

    /// What is wrong, and how many records were lost by it; the log is told when it begins and when it is over.
    pub(super) fn review(
        &mut self,
        now: Instant,
        connected_since: Instant,
        leader_since: impl Fn(i32) -> Option<Instant>,
    ) -> Option<(Cause, u64)> {
        let of_topic = self.problem.filter(|(code, since)| is_lasting(*code) || has_lasted(*since, connected_since, now));
        let mut partitions = self.partitions.iter();
        let of_partition = || partitions.find_map(|partition| partition.trouble(now, connected_since, &leader_since));
        let cause = of_topic.map(|(code, _)| Cause::Code(code)).or_else(of_partition).or_else(|| self.unfinished());
        let Some(cause) = cause else {
            self.recover(now);
            return None;
        };
        // Who is away is said once for all topics.
        if !matches!(cause, Cause::Away(_)) && self.told.begins(cause, now) {
            log::warn!("topic {}: {cause}, trying again", self.name);
        }
        Some((cause, self.lost))
    }

    /// What was told and is not over: a record waits since before. That a leader is given time anew, after a connection was lost,
    /// takes no record.
    fn unfinished(&self) -> Option<Cause> {
        let began_at = self.told.since()?;
        let mut waiting = self.partitions.iter().filter_map(Partition::waiting_since);
        self.told.kind().filter(|_| waiting.any(|since| since <= began_at)).copied()
    }

    fn recover(&mut self, now: Instant) {
        let Some(lasted) = self.told.ends(now) else { return };
        let Self { name, lost, .. } = self;
        let lost = std::mem::take(lost);
        let lost = if lost > 0 { format!("; lost: {lost}") } else { String::new() };
        log::info!("topic {name}: records are taken again after {:.1} s{lost}", lasted.as_secs_f64());
    }
}
