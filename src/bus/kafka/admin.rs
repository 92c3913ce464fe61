//! Topics created and described, for a command that has nothing else to do: unlike all else here, these calls wait.

use super::client::Client;
use super::cluster::{Cluster, Owner};
use super::connection::Answer;
use super::create::{Creation, Fate, NewTopics};
use super::link::{Lane, Target};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{DescribeConfigsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use std::time::{Duration, Instant};

/// Between two looks at what is under way, if nothing arrives.
const TURN: Duration = Duration::from_millis(50);
/// `ConfigResource.Type.TOPIC`
const TOPIC_RESOURCE: i8 = 2;

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// How many partitions.
    pub partitions: usize,
    /// Copies of each.
    pub replicas: usize,
    /// Partitions that nobody leads at present.
    pub leaderless: usize,
    /// `retention.ms` and `retention.bytes` of a partition; -1 is no limit. `None`: the broker does not tell.
    pub retention: Option<(i64, i64)>,
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

    /// Creates the topics that are missing, and returns what became of each, in their order.
    ///
    /// # Errors
    /// No broker answered: why.
    pub fn create(&mut self, wanted: NewTopics) -> Result<Vec<(String, Fate)>, String> {
        let mut creation = Creation::new(wanted, &mut self.client.cluster, (self.clock)());
        self.wait_for(|cluster, now| creation.poll(cluster, now).map(Ok))
    }

    /// Describes topics in the order of their names; `None` for one that is not there. None is created by that.
    ///
    /// # Errors
    /// No broker answered, or one refused to describe a topic: why.
    pub fn describe(&mut self, names: &[&str]) -> Result<Vec<Option<Described>>, String> {
        let answer = self.ask(|version| {
            let by_name = |name: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
            let request = MetadataRequest::default().with_topics(Some(names.iter().map(by_name).collect()));
            // Before version 4 there is no such field, and the broker creates what is asked for if it is set up so.
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        })?;
        let retentions = self.retentions(names)?;
        let describe = |(name, retention): (&&str, Option<(i64, i64)>)| {
            let named = |topic: &&MetadataResponseTopic| topic.name.as_ref().is_some_and(|other| *other.0 == **name);
            let topic = answer.topics.iter().find(named);
            match topic.map(|topic| (topic, ResponseError::try_from_code(topic.error_code))) {
                None | Some((_, Some(ResponseError::UnknownTopicOrPartition))) => Ok(None),
                Some((_, Some(error))) => Err(format!("{name}: {error}")),
                Some((topic, None)) => Ok(Some(Described {
                    partitions: topic.partitions.len(),
                    replicas: topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len()),
                    leaderless: topic.partitions.iter().filter(|partition| partition.leader_id.0 < 0).count(),
                    retention,
                })),
            }
        };
        names.iter().zip(retentions).map(describe).collect()
    }

    fn retentions(&mut self, names: &[&str]) -> Result<Vec<Option<(i64, i64)>>, String> {
        let keys = ["retention.ms", "retention.bytes"];
        let resource = |name: &&str| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(text(name))
                .with_configuration_keys(Some(keys.map(StrBytes::from_static_str).to_vec()))
        };
        let request = DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect());
        let answer = self.ask(|_| request.clone())?;
        let retention = |name: &&str| {
            let topic = answer.results.iter().find(|topic| *topic.resource_name == **name)?;
            let [ms, bytes] = keys.map(|key| {
                let config = topic.configs.iter().find(|config| *config.name == *key)?;
                config.value.as_ref()?.parse().ok()
            });
            ms.zip(bytes)
        };
        Ok(names.iter().map(retention).collect())
    }

    /// Asks the controller; every broker is as good for what it does not decide itself.
    fn ask<R: Request>(&mut self, request: impl Fn(i16) -> R) -> Result<R::Response, String> {
        let patience = self.patience;
        let mut is_asked = false;
        self.wait_for(|cluster, now| {
            while let Some(completion) = cluster.next_completion(Owner::Admin) {
                is_asked = false;
                // What a lost connection did not answer is asked again.
                if let Ok(answer) = completion.result {
                    return Some(Answer::decode::<R>(answer).map_err(|failure| failure.to_string()));
                }
            }
            let broker = cluster.metadata().controller().filter(|_| !is_asked)?;
            let target = Target { broker, lane: Lane::Main };
            let version = cluster.version::<R>(target, now)?;
            match cluster.send(Owner::Admin, target, &request(version), version, now + patience) {
                Ok(_) => is_asked = true,
                Err(failure) => return Some(Err(failure.to_string())),
            }
            None
        })
    }

    /// Lets the client work until `poll` has a result.
    fn wait_for<T>(
        &mut self,
        mut poll: impl FnMut(&mut Cluster, Instant) -> Option<Result<T, String>>,
    ) -> Result<T, String> {
        let deadline = (self.clock)() + self.patience;
        loop {
            let now = (self.clock)();
            self.client.receive(now);
            if let Some(result) = poll(&mut self.client.cluster, now) {
                return result;
            }
            if deadline <= now || self.client.cluster.is_hopeless() {
                return Err(self.trouble());
            }
            self.client.send(now);
            self.client.wait(now, deadline.min(now + TURN));
        }
    }

    fn trouble(&self) -> String {
        let cluster = &self.client.cluster;
        let problems = cluster.problems().map(|(endpoint, failure)| format!("{endpoint}: {failure}"));
        // One that is there may wait for a majority of the others.
        let silence = cluster.is_connected().then(|| "the broker that is there has not answered in time".to_owned());
        let told: Vec<String> = silence.into_iter().chain(problems).collect();
        if told.is_empty() { "no broker answered in time".to_owned() } else { told.join("; ") }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
