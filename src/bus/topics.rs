//! What the configured topics are on a broker, where we create them.

use super::kafka::create::NewTopics;
use crate::wire::Topics;

/// Partitions of a topic unless told otherwise: three plants, an instance each.
pub const PARTITIONS: i32 = 3;

/// Records are kept by their size and not by their age, 256 MiB a partition: a simulated clock may be months behind the
/// broker's, whose records would be deleted as they come, or ahead of it, whose records would stay for ever. At speed 1 that is
/// weeks of telemetry and years of orders and events.
const CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("message.timestamp.type", "CreateTime"),
    ("retention.ms", "-1"),
    ("retention.bytes", "268435456"),
    ("segment.bytes", "33554432"),
];

/// Timestamps may be as far from the broker's clock as they like. Kafka 4 refuses those that are an hour ahead, unless told not
/// to; brokers before 3.6 refuse none and do not know these settings (KIP-937).
const CONFIGS_IF_KNOWN: &[(&str, &str)] =
    &[("message.timestamp.after.max.ms", "9223372036854775807"), ("message.timestamp.before.max.ms", "9223372036854775807")];

/// Every topic of a run, the orders first.
#[must_use]
pub fn names(topics: &Topics) -> Vec<&str> {
    let outputs = topics.outputs().map(|(name, _)| name);
    // The sender has one topic only, and leaves the others without a name.
    [topics.orders.as_str()].into_iter().chain(outputs).filter(|name| !name.is_empty()).collect()
}

/// The topics to be created where they are missing.
#[must_use]
pub fn wanted(topics: &Topics, partitions: i32) -> NewTopics {
    let names = names(topics).into_iter().map(str::to_owned).collect();
    NewTopics { names, partitions, configs: CONFIGS, configs_if_known: CONFIGS_IF_KNOWN }
}
