//! A broker for tests: it answers as a real one does, except where its script says otherwise.
//!
//! ```text
//!   script: [(Produce, Fail(NOT_LEADER)), (Produce, ServeAndCut), …]     the n-th request of an API takes the n-th row of that API
//!                               │
//!   bytes in ──► Session ──► Broker ──► Logs, Coordinator ──► bytes out, each with the delay it has
//! ```
//!
//! It is plain state. [`sim`] puts it behind a network whose time is invented and whose connections are cut at a given byte;
//! [`tcp`] puts it behind a socket, on a thread.

mod coordinator;
pub(crate) mod heard;
pub(crate) mod logs;
mod serve;
pub(crate) mod sim;
pub(crate) mod tcp;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable as _, Encodable as _};
use logs::Log;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// What is done about a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// What a real broker does.
    Serve,
    /// Nothing but an answer with this error code.
    Fail(i16),
    /// As `Serve`, and the answer has this error code nevertheless.
    ServeAndFail(i16),
    /// As `Serve`, and the answer comes so much later.
    Delay(Duration),
    /// As `Serve`, and the connection is closed instead of an answer.
    ServeAndCut,
    /// The connection is closed.
    Cut,
    /// As `Serve`, and the connection is closed after half of the answer.
    HalfAnswer,
    /// Nothing, ever: the connection is frozen.
    Silence,
    /// As `Serve`, under another correlation id.
    WrongCorrelation,
    /// An answer that announces this length.
    Length(i32),
    /// An answer with this body.
    Body(&'static [u8]),
}

/// What costs a client its connection, whatever it asked.
pub(crate) const BROKEN_ANSWERS: [Act; 13] = [
    Act::Cut,
    Act::ServeAndCut,
    Act::HalfAnswer,
    Act::WrongCorrelation,
    Act::Silence,
    Act::Delay(Duration::from_secs(3)),
    Act::Delay(Duration::from_secs(40)),
    Act::Length(i32::MAX),
    Act::Length(-1),
    Act::Length(2),
    Act::Body(&[]),
    Act::Body(&[0xff; 40]),
    Act::Body(&[0; 40]),
];

/// The n-th request of an API takes the n-th row of that API; what has no row is served.
pub(crate) type Script<'a> = &'a [(ApiKey, Act)];

/// The state of one broker, which is the whole cluster.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Where clients are told that it is.
    pub(crate) address: (String, u16),
    /// Topics by name.
    pub(crate) topics: BTreeMap<String, Topic>,
    /// The highest version it knows of an API, where that is not the codec's; below 0: it does not know the API.
    pub(crate) version_max: BTreeMap<i16, i16>,
    /// Requests that came, by API.
    pub(crate) requests: BTreeMap<i16, usize>,
    /// `max.message.bytes`: larger batches are refused.
    pub(crate) batch_bytes_max: usize,
    /// Producers are forgotten whenever a connection ends, as by a broker that restarts and whose records are of long ago.
    pub(crate) is_forgetful: bool,
    /// So many answers to Fetch more show nothing, as if no replica had it yet.
    pub(crate) withheld: usize,
    /// So many times more a coordinator is named that is not there.
    pub(crate) absent_coordinators: usize,
    script: Vec<(ApiKey, Act)>,
    coordinator: coordinator::Coordinator,
    producers: i64,
    created: u128,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its partitions.
    pub(crate) logs: Vec<Log>,
}

/// A connection as the broker sees it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    inbound: Vec<u8>,
    /// Nothing that comes is read any more.
    dead: bool,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) struct Reply {
    /// How much later than the request.
    pub(crate) after: Duration,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection is closed then.
    pub(crate) close: bool,
}

impl Broker {
    /// A broker with these topics and numbers of partitions.
    pub(crate) fn new(topics: &[(&str, usize)]) -> Self {
        let topic = |(index, (name, partitions)): (usize, &(&str, usize))| {
            let logs = (0..*partitions).map(|_| Log::default()).collect();
            ((*name).to_owned(), Topic { id: Uuid::from_u128(index as u128 + 1), logs })
        };
        Self {
            address: ("127.0.0.1".into(), 9092),
            topics: topics.iter().enumerate().map(topic).collect(),
            version_max: BTreeMap::new(),
            requests: BTreeMap::new(),
            batch_bytes_max: usize::MAX,
            is_forgetful: false,
            withheld: 0,
            absent_coordinators: 0,
            script: Vec::new(),
            coordinator: coordinator::Coordinator::default(),
            producers: 0,
            created: 0,
        }
    }

    /// With a script.
    pub(crate) fn script(mut self, script: Script<'_>) -> Self {
        self.script = script.to_vec();
        self
    }

    /// Adds to the script.
    pub(crate) fn extend_script(&mut self, script: Script<'_>) {
        self.script.extend_from_slice(script);
    }

    /// Deletes a topic, and what its group has committed.
    pub(crate) fn delete(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.coordinator.committed.retain(|(of, _), _| of != topic);
    }

    /// Creates a topic, under an id that none had before.
    pub(crate) fn create(&mut self, topic: &str, partitions: usize) {
        self.created += 1;
        let logs = (0..partitions).map(|_| Log::default()).collect();
        self.topics.insert(topic.to_owned(), Topic { id: Uuid::from_u128(self.created << 64), logs });
    }

    /// Refusing larger batches.
    pub(crate) const fn with_batch_bytes_max(mut self, batch_bytes_max: usize) -> Self {
        self.batch_bytes_max = batch_bytes_max;
        self
    }

    /// Forgetting producers whenever a connection ends.
    pub(crate) const fn forgetful(mut self) -> Self {
        self.is_forgetful = true;
        self
    }

    /// A connection has ended. Whether it is because the broker has restarted.
    pub(crate) fn hang_up(&mut self) -> bool {
        if self.is_forgetful {
            self.topics.values_mut().flat_map(|topic| &mut topic.logs).for_each(Log::forget_producers);
        }
        self.is_forgetful
    }

    /// Knowing only so much.
    pub(crate) fn knowing(mut self, version_max: &[(ApiKey, i16)]) -> Self {
        self.version_max = version_max.iter().map(|(api, version)| (*api as i16, *version)).collect();
        self
    }

    /// As Kafka 0.11 was.
    pub(crate) fn of_2017(self) -> Self {
        use ApiKey::*;
        self.knowing(&[
            (Produce, 3),
            (Fetch, 5),
            (ListOffsets, 2),
            (Metadata, 4),
            (OffsetCommit, 3),
            (OffsetFetch, 3),
            (FindCoordinator, 1),
            (JoinGroup, 2),
            (Heartbeat, 1),
            (LeaveGroup, 1),
            (SyncGroup, 1),
            (ApiVersions, 1),
            (InitProducerId, 0),
            (CreateTopics, 2),
            (ConsumerGroupHeartbeat, -1),
        ])
    }

    /// Without the group protocol of KIP-848.
    pub(crate) fn classic(self) -> Self {
        self.knowing(&[(ApiKey::ConsumerGroupHeartbeat, -1)])
    }

    /// How many requests of an API came.
    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.requests.get(&(api as i16)).copied().unwrap_or(0)
    }

    /// Whether every row of the script has been played.
    pub(crate) fn is_played(&self) -> bool {
        self.script.is_empty()
    }

    /// The offset that a group has committed.
    pub(crate) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        self.coordinator.committed(topic, partition)
    }

    /// Makes a process of this id the group's member; with an empty one, the member's session has ended.
    pub(crate) fn set_member(&mut self, member: &str) {
        self.coordinator.set_member(member);
    }

    /// The id of the group's member, and whether that one has gone to come back.
    pub(crate) fn member(&self) -> (&str, bool) {
        self.coordinator.member()
    }

    /// Takes bytes of a connection; gives what comes of the requests that are whole with them.
    pub(crate) fn receive(&mut self, session: &mut Session, bytes: &[u8]) -> Vec<Reply> {
        session.inbound.extend_from_slice(bytes);
        let mut replies = Vec::new();
        while !session.dead {
            let Some(length) = session.inbound.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
                break;
            };
            let Some(frame) = session.inbound.get(4..4 + length) else { break };
            let frame = Bytes::copy_from_slice(frame);
            session.inbound.drain(..4 + length);
            let reply = self.act(frame);
            session.dead = reply.as_ref().is_none_or(|reply| reply.close);
            replies.extend(reply);
        }
        replies
    }

    fn act(&mut self, mut frame: Bytes) -> Option<Reply> {
        let key = i16::from_be_bytes(*frame.first_chunk().unwrap());
        let api = ApiKey::try_from(key).unwrap();
        let version = i16::from_be_bytes(*frame[2..].first_chunk().unwrap());
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).unwrap();
        *self.requests.entry(key).or_default() += 1;
        let row = self.script.iter().position(|(scripted, _)| *scripted == api);
        let act = row.map_or(Act::Serve, |row| self.script.remove(row).1);

        if let Act::ServeAndFail(_) = act {
            self.serve(api, version, frame.clone(), 0);
        }
        let error = if let Act::Fail(code) | Act::ServeAndFail(code) = act { code } else { 0 };
        let closes = matches!(act, Act::ServeAndCut | Act::Cut | Act::HalfAnswer);
        let (body, mut after) = match act {
            Act::Cut => (BytesMut::new(), Duration::ZERO),
            Act::Silence => return None,
            _ => self.serve(api, version, frame, error)?,
        };
        let correlation_id = header.correlation_id + i32::from(act == Act::WrongCorrelation);
        // Version 3 of ApiVersions is answered in version 0 by a broker that does not know it.
        let answered = if api == ApiKey::ApiVersions { 0 } else { api.response_header_version(version) };
        let mut payload = BytesMut::new();
        ResponseHeader::default().with_correlation_id(correlation_id).encode(&mut payload, answered).unwrap();
        payload.extend_from_slice(if let Act::Body(body) = act { body } else { &body });
        let length = if let Act::Length(length) = act { length } else { payload.len() as i32 };
        let mut bytes = BytesMut::new();
        bytes.put_i32(length);
        bytes.extend_from_slice(&payload);
        let sent = match act {
            Act::ServeAndCut | Act::Cut => 0,
            Act::HalfAnswer => bytes.len() / 2,
            _ => bytes.len(),
        };
        if let Act::Delay(delay) = act {
            after += delay;
        }
        Some(Reply { after, bytes: bytes[..sent].to_vec(), close: closes })
    }
}
