//! Topics that are not there are created.
//!
//! ```text
//!   metadata ──► all there ───────────────────────────────────────────────► the fate of each
//!      │                                                                         ▲
//!      └──► some missing ──► CreateTopics ──► created, refused ──► all led ──────┘
//!                                 ▲               │
//!                                 └── again ◄─────┘ for what time mends, or without what the broker does not know
//! ```

use super::cluster::{Cluster, Completion, Owner};
use super::connection::{Answer, Ticket};
use super::link::{Lane, Target};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::time::Instant;

/// Copies of a partition where there are brokers enough: one may be lost while another is being restarted.
const REPLICAS_MAX: usize = 3;

/// What a topic is to be.
#[derive(Clone, Debug)]
pub struct NewTopics {
    /// Their names.
    pub names: Vec<String>,
    /// Partitions of each.
    pub partitions: i32,
    /// Settings of each.
    pub configs: &'static [(&'static str, &'static str)],
    /// Further settings, which are left out where a broker refuses the settings.
    pub configs_if_known: &'static [(&'static str, &'static str)],
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was there.
    Existed,
    /// It was created.
    Created,
    /// It is missing, and the broker refuses to create it: why.
    Refused(String),
}

/// The creation of topics, under way.
#[derive(Debug)]
pub struct Creation {
    wanted: NewTopics,
    fates: Vec<Option<Fate>>,
    in_flight: Option<Ticket>,
    plain: bool,
    at: Instant,
    failures: u32,
}

impl Creation {
    /// The cluster must not have been asked for anything yet.
    pub fn new(wanted: NewTopics, cluster: &mut Cluster, now: Instant) -> Self {
        wanted.names.iter().for_each(|name| cluster.want_topic(name, now));
        Self { fates: vec![None; wanted.names.len()], wanted, in_flight: None, plain: false, at: now, failures: 0 }
    }

    /// Goes on; at the end returns what became of each topic.
    pub fn poll(&mut self, cluster: &mut Cluster, now: Instant) -> Option<Vec<(String, Fate)>> {
        while let Some(completion) = cluster.next_completion(Owner::Admin) {
            self.take(completion, cluster, now);
        }
        if self.in_flight.is_none() && cluster.metadata().revision() > 0 && self.at <= now {
            self.pass_over_existing(cluster);
            self.ask(cluster, now);
        }
        let fates = self.fates.iter().cloned().collect::<Option<Vec<Fate>>>()?;
        let is_ready = |(name, fate): (&String, &Fate)| *fate != Fate::Created || is_led(name, cluster);
        if !self.wanted.names.iter().zip(&fates).all(is_ready) {
            cluster.refresh_metadata(now);
            return None;
        }
        Some(self.wanted.names.drain(..).zip(fates).collect())
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        Some(self.at).filter(|at| *at > now)
    }

    fn pass_over_existing(&mut self, cluster: &Cluster) {
        for (name, fate) in self.wanted.names.iter().zip(&mut self.fates) {
            let code = cluster.metadata().topic(name).map_or(0, |topic| topic.error_code);
            if fate.is_none() && code != ResponseError::UnknownTopicOrPartition.code() {
                *fate = Some(Fate::Existed);
            }
        }
    }

    fn ask(&mut self, cluster: &mut Cluster, now: Instant) {
        let missing: Vec<&String> =
            self.wanted.names.iter().zip(&self.fates).filter(|(_, fate)| fate.is_none()).map(|(name, _)| name).collect();
        let Some(broker) = cluster.metadata().controller().filter(|_| !missing.is_empty()) else { return };
        let target = Target { broker, lane: Lane::Main };
        let Some(version) = cluster.version::<CreateTopicsRequest>(target, now) else { return };
        let replicas = cluster.metadata().broker_ids().len().clamp(1, REPLICAS_MAX) as i16;
        let topics = missing.into_iter().map(|name| self.creatable(name).with_replication_factor(replicas)).collect();
        let timeout = cluster.settings().request_timeout;
        let timeout_ms = i32::try_from(timeout.as_millis() / 2).unwrap_or(i32::MAX);
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(timeout_ms);
        match cluster.send(Owner::Admin, target, &request, version, now + timeout) {
            Ok(ticket) => self.in_flight = Some(ticket),
            Err(failure) => cluster.fail(target, &failure, now),
        }
    }

    fn creatable(&self, name: &str) -> CreatableTopic {
        let further = if self.plain { &[] } else { self.wanted.configs_if_known };
        let configs = self.wanted.configs.iter().chain(further).map(|(key, value)| {
            let (key, value) = (StrBytes::from_static_str(key), StrBytes::from_static_str(value));
            CreatableTopicConfig::default().with_name(key).with_value(Some(value))
        });
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(self.wanted.partitions)
            .with_configs(configs.collect())
    }

    fn take(&mut self, completion: Completion, cluster: &mut Cluster, now: Instant) {
        if self.in_flight.take_if(|ticket| *ticket == completion.ticket).is_none() {
            return;
        }
        let again = match completion.result.and_then(Answer::decode::<CreateTopicsRequest>) {
            Ok(answer) => self.settle(&answer),
            Err(failure) => {
                cluster.fail(completion.target, &failure, now);
                true
            }
        };
        if again {
            self.failures = self.failures.saturating_add(1);
            self.at = now + cluster.backoff(self.failures);
            cluster.refresh_metadata(now);
        }
    }

    /// Takes the answer in; true when some of it is to be asked again later.
    fn settle(&mut self, answer: &CreateTopicsResponse) -> bool {
        let (mut again, mut unknown_settings) = (false, false);
        for answer in &answer.topics {
            let Some(index) = self.wanted.names.iter().position(|name| *name == *answer.name.0) else { continue };
            self.fates[index] = match ResponseError::try_from_code(answer.error_code) {
                None => Some(Fate::Created),
                Some(ResponseError::TopicAlreadyExists) => Some(Fate::Existed),
                Some(ResponseError::InvalidConfig) if !self.plain => {
                    unknown_settings = true;
                    None
                }
                Some(error) if error.is_retriable() => {
                    again = true;
                    None
                }
                Some(error) => {
                    let message = answer.error_message.as_ref().map(ToString::to_string);
                    Some(Fate::Refused(message.unwrap_or_else(|| error.to_string())))
                }
            };
        }
        self.plain |= unknown_settings;
        again
    }
}

/// Whether each partition of a topic has a leader, as far as we know.
fn is_led(topic: &str, cluster: &Cluster) -> bool {
    let partitions = cluster.metadata().topic(topic).map_or(&[][..], |topic| &topic.partitions);
    !partitions.is_empty() && partitions.iter().all(|partition| partition.leader.is_some())
}
