//! Whether records are taken: told to the log and to the health page.

use super::super::cluster::Cluster;
use super::super::told::{describe, has_lasted};
use super::Producer;
use super::cause::Cause;
use super::verdict::is_lasting;
use std::sync::Arc;
use std::time::Instant;

/// What the health page is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// No producer id is given.
    Anonymous(i16),
    /// A topic's records are not taken, so many were lost, and as many other topics' are not.
    Topic { topic: usize, cause: Cause, lost: u64, others: usize },
}

impl Producer {
    /// Why records are not taken, if some are not.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Arc<str>> {
        self.shown.trouble()
    }

    /// Looks whether records of each topic are taken. While no broker is connected, that is all there is to say.
    pub(super) fn review(&mut self, cluster: &Cluster, now: Instant) {
        let Some(connected_since) = cluster.connected_since() else { return };
        let lasts = |(code, since): (i16, Instant)| is_lasting(code) || has_lasted(since, connected_since, now);
        let mut concern = None;
        if let Some((code, _)) = self.introduction.problem.filter(|problem| lasts(*problem)) {
            if self.introduction.told.begins(code, now) {
                log::warn!("Kafka gives no producer id, asking again: {}", describe(code));
            }
            concern = Some(Concern::Anonymous(code));
        }
        for (number, topic) in self.topics.iter_mut().enumerate() {
            let leader_since = |broker| cluster.established_since(broker);
            let Some((cause, lost)) = topic.review(now, connected_since, leader_since) else { continue };
            match &mut concern {
                Some(Concern::Topic { others, .. }) => *others += 1,
                Some(Concern::Anonymous(_)) => {}
                None => concern = Some(Concern::Topic { topic: number, cause, lost, others: 0 }),
            }
        }
        let topics = &self.topics;
        self.shown.show(concern, |concern| match concern {
            Concern::Anonymous(code) => format!("Kafka gives no producer id: {}", describe(*code)),
            Concern::Topic { topic, cause, lost, others } => {
                let mut reason = format!("topic {}: {cause}", topics[*topic].name);
                if *lost > 0 {
                    reason += &format!("; records lost: {lost}");
                }
                if *others > 0 {
                    reason += &format!("; topics in trouble besides: {others}");
                }
                reason
            }
        });
    }
}
