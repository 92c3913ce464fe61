//! Topics created and described, for a command that has nothing else to do: unlike all else here, these calls wait.

use super::client::Client;
use super::cluster::{Cluster, Owner};
use super::connection::Answer;
use super::error::Failure;
use super::link::{Lane, Target};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use std::time::{Duration, Instant};

/// Copies of a partition where there are brokers enough: one may be lost while another is being restarted.
const REPLICAS_MAX: usize = 3;
/// `ConfigResource.Type.TOPIC`
const TOPIC_RESOURCE: i8 = 2;

/// A topic to be created.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// Its settings, where they are not to be the broker's defaults.
    pub configs: Vec<(&'static str, String)>,
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of error it is.
    pub error: ResponseError,
    /// What the broker says of it.
    pub message: String,
}

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// How many partitions.
    pub partitions: usize,
    /// Copies of each.
    pub replicas: usize,
    /// Partitions that nobody leads at present.
    pub leaderless: usize,
    /// `retention.ms`; -1 is for ever. `None`: the broker does not tell.
    pub retention_ms: Option<i64>,
}

/// A client that asks and waits for the answer.
pub struct Admin<'c> {
    client: Client,
    clock: &'c dyn Fn() -> Instant,
    patience: Duration,
}

impl<'c> Admin<'c> {
    /// `clock` tells the time; a question is given up when it is not answered within `patience`.
    #[must_use]
    pub fn new(client: Client, clock: &'c dyn Fn() -> Instant, patience: Duration) -> Self {
        Self { client, clock, patience }
    }

    /// Creates topics, with the result of each in their order.
    ///
    /// # Errors
    /// No broker answered: why.
    pub fn create(&mut self, topics: &[NewTopic<'_>]) -> Result<Vec<Result<(), Refusal>>, String> {
        let timeout_ms = i32::try_from(self.patience.as_millis()).unwrap_or(i32::MAX);
        let answer = self.ask(|cluster, _| {
            let replicas = cluster.metadata().broker_ids().len().clamp(1, REPLICAS_MAX) as i16;
            let topics = topics.iter().map(|topic| creatable(topic).with_replication_factor(replicas));
            CreateTopicsRequest::default().with_topics(topics.collect()).with_timeout_ms(timeout_ms)
        })?;
        let result = |topic: &NewTopic<'_>| {
            let answer = answer.topics.iter().find(|answer| *answer.name.0 == *topic.name);
            let answer = answer.ok_or_else(|| format!("the answer says nothing of {}", topic.name))?;
            Ok(ResponseError::try_from_code(answer.error_code).map_or(Ok(()), |error| {
                let message = answer.error_message.as_ref().map_or_else(|| error.to_string(), ToString::to_string);
                Err(Refusal { error, message })
            }))
        };
        topics.iter().map(result).collect()
    }

    /// Describes topics in the order of their names; `None` for one that is not there. None is created by that.
    ///
    /// # Errors
    /// No broker answered, or one refused to describe a topic: why.
    pub fn describe(&mut self, names: &[&str]) -> Result<Vec<Option<Described>>, String> {
        let answer = self.ask(|_, version| {
            let by_name = |name: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
            let request = MetadataRequest::default().with_topics(Some(names.iter().map(by_name).collect()));
            // Before version 4 there is no such field, and the broker creates what is asked for if it is set up so.
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        })?;
        let retentions = self.retentions(names)?;
        let describe = |(name, retention_ms): (&&str, Option<i64>)| {
            let named = |topic: &&MetadataResponseTopic| topic.name.as_ref().is_some_and(|other| *other.0 == **name);
            let topic = answer.topics.iter().find(named);
            match topic.map(|topic| (topic, ResponseError::try_from_code(topic.error_code))) {
                None | Some((_, Some(ResponseError::UnknownTopicOrPartition))) => Ok(None),
                Some((_, Some(error))) => Err(format!("{name}: {error}")),
                Some((topic, None)) => Ok(Some(Described {
                    partitions: topic.partitions.len(),
                    replicas: topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len()),
                    leaderless: topic.partitions.iter().filter(|partition| partition.leader_id.0 < 0).count(),
                    retention_ms,
                })),
            }
        };
        names.iter().zip(retentions).map(describe).collect()
    }

    fn retentions(&mut self, names: &[&str]) -> Result<Vec<Option<i64>>, String> {
        let resource = |name: &&str| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(text(name))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]))
        };
        let request = DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect());
        let answer = self.ask(|_, _| request.clone())?;
        let retention = |name: &&str| {
            let topic = answer.results.iter().find(|topic| *topic.resource_name == **name)?;
            topic.configs.first()?.value.as_ref()?.parse().ok()
        };
        Ok(names.iter().map(retention).collect())
    }

    /// Asks the controller; every broker is as good for what it does not decide itself.
    fn ask<R: Request>(&mut self, request: impl Fn(&Cluster, i16) -> R) -> Result<R::Response, String> {
        let deadline = (self.clock)() + self.patience;
        let mut is_asked = false;
        loop {
            let now = (self.clock)();
            self.client.receive(now);
            let cluster = &mut self.client.cluster;
            while let Some(completion) = cluster.next_completion(Owner::Admin) {
                is_asked = false;
                // What a lost connection did not answer is asked again.
                if let Ok(answer) = completion.result {
                    return Answer::decode::<R>(answer).map_err(|failure| failure.to_string());
                }
            }
            if let Some(broker) = cluster.metadata().controller().filter(|_| !is_asked) {
                let target = Target { broker, lane: Lane::Main };
                if let Some(version) = cluster.version::<R>(target, now) {
                    let request = request(cluster, version);
                    cluster
                        .send(Owner::Admin, target, &request, version, deadline)
                        .map_err(|failure| failure.to_string())?;
                    is_asked = true;
                }
            }
            if deadline <= now || is_hopeless(cluster) {
                return Err(self.trouble());
            }
            self.client.send(now);
            self.client.wait(now, deadline);
        }
    }

    fn trouble(&self) -> String {
        let problems = self.client.cluster.problems().map(|(endpoint, failure)| format!("{endpoint}: {failure}"));
        let problems: Vec<String> = problems.collect();
        if problems.is_empty() { "no broker answered in time".to_owned() } else { problems.join("; ") }
    }
}

/// Whether every address was refused for a reason that time does not mend.
fn is_hopeless(cluster: &Cluster) -> bool {
    let lasting = |failure: &Failure| {
        matches!(failure, Failure::Authentication { .. } | Failure::Tls(_) | Failure::NoCommonVersion { .. })
    };
    let refused = cluster.problems().filter(|(_, failure)| lasting(failure)).count();
    !cluster.is_connected() && refused >= cluster.settings().bootstrap.len()
}

fn creatable(topic: &NewTopic<'_>) -> CreatableTopic {
    let config = |(name, value): &(&'static str, String)| {
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(name)).with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(TopicName(text(topic.name)))
        .with_num_partitions(topic.partitions)
        .with_configs(topic.configs.iter().map(config).collect())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
