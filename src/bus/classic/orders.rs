//! Reading the orders topic: every partition of it, from where the group left off.

use super::worker::{Abandoned, Failure};
use super::{ORDERS_MAX, Order};
use crate::bus::Position;
use crate::config::Kafka;
use crate::wire::ORDER_BYTES_MAX;
use crossbeam_channel::{Sender, TrySendError};
use kafka::client::fetch::{Data, Response};
use kafka::client::{FetchOffset, FetchPartition, KafkaClient};
use kafka::error::KafkaCode;
use std::sync::Arc;

/// Bytes fetched of a partition at once, at first and at most. A record that does not fit makes the answer empty (version 0 of
/// Fetch), so an empty answer where there should be a record asks for twice as much.
const FETCH_BYTES_MIN: i32 = 128 * 1024;
const FETCH_BYTES_MAX: i32 = 16 * 1024 * 1024;
/// Errors in a row without a name known to the crate (a compression younger than it, for one) before an order is passed over.
const UNNAMED_ERRORS_MAX: u32 = 20;

/// Where the reading stands.
#[derive(Debug)]
pub(super) struct Reader {
    topic: String,
    group: String,
    start: FetchOffset,
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Partition {
    id: i32,
    /// Offset of the next order; `None` when it is to be looked up: the group has none, or the log no longer has it.
    next: Option<i64>,
    /// The offset that the log no longer has, and how often the log was then found to end before it.
    gone: i64,
    incarnation: u32,
    /// Offset behind the last order in the log, once known.
    end: Option<i64>,
    fetch_bytes: i32,
    unnamed_errors: u32,
}

/// What one reading brought.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// There may be more.
    pub(super) more: bool,
    /// Orders that could not be fetched and were passed over.
    pub(super) skipped: u32,
}

impl Reader {
    pub(super) fn new(kafka: &Kafka) -> Self {
        Self {
            topic: kafka.topics.orders.clone(),
            group: kafka.group_id.clone(),
            start: if kafka.from_earliest { FetchOffset::Earliest } else { FetchOffset::Latest },
            partitions: Vec::new(),
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Takes up the partitions that are new, from the group's offsets. The others go on where they are: what was handed over
    /// and is not committed yet is not fetched again.
    pub(super) fn open(&mut self, client: &mut KafkaClient) -> Result<(), Failure> {
        let known = self.partitions.len();
        if client.topics().partitions(&self.topic).is_none_or(|partitions| partitions.len() <= known) {
            return Ok(());
        }
        let mut committed = client.fetch_group_topic_offset(&self.group, &self.topic)?;
        committed.sort_by_key(|offset| offset.partition);
        self.partitions.extend(committed.iter().skip(known).map(|committed| Partition {
            id: committed.partition,
            next: (committed.offset >= 0).then_some(committed.offset),
            gone: 0,
            incarnation: 0,
            end: None,
            fetch_bytes: FETCH_BYTES_MIN,
            unnamed_errors: 0,
        }));
        Ok(())
    }

    /// Fetches once and hands the orders over, as far as the channel has room.
    pub(super) fn read(&mut self, client: &mut KafkaClient, orders: &Sender<Order>) -> Result<Read, Failure> {
        let mut read = Read::default();
        self.find_starts(client)?;
        if orders.len() > ORDERS_MAX / 2 {
            self.find_ends(client)?;
            return Ok(read);
        }
        match client.fetch_messages(self.partitions.iter().filter_map(|partition| partition.request(&self.topic))) {
            Ok(responses) => self.take_in(&responses, orders, &mut read)?,
            Err(error) if is_undecodable(&error) => self.read_each(client, orders, &mut read)?,
            Err(error) => return Err(error.into()),
        }
        Ok(read)
    }

    /// Orders that were not fetched yet; `None` while it is not known.
    pub(super) fn lag(&self) -> Option<u64> {
        self.partitions.iter().map(|partition| Some((partition.end? - partition.next?).max(0) as u64)).sum()
    }

    /// Something in some partition cannot be read: fetches them one by one, and passes over what is in the way.
    fn read_each(&mut self, client: &mut KafkaClient, orders: &Sender<Order>, read: &mut Read) -> Result<(), Failure> {
        for index in 0..self.partitions.len() {
            let Some(request) = self.partitions[index].request(&self.topic) else { continue };
            match client.fetch_messages([request]) {
                Ok(responses) => self.take_in(&responses, orders, read)?,
                Err(error) if is_undecodable(&error) => {
                    self.partitions[index].pass_over(&error.to_string(), orders, read)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take_in(&mut self, responses: &[Response], orders: &Sender<Order>, read: &mut Read) -> Result<(), Failure> {
        let answers = responses.iter().flat_map(Response::topics).flat_map(|topic| topic.partitions());
        for answer in answers {
            let Some(partition) = self.partitions.iter_mut().find(|partition| partition.id == answer.partition()) else {
                continue;
            };
            match answer.data() {
                Ok(data) => partition.take_in(data, orders, read)?,
                Err(error) => partition.take_in_error(&self.topic, error, orders, read)?,
            }
        }
        Ok(())
    }

    fn find_starts(&mut self, client: &mut KafkaClient) -> Result<(), Failure> {
        if self.partitions.iter().all(|partition| partition.next.is_some()) {
            return Ok(());
        }
        for start in client.fetch_topic_offsets(&self.topic, self.start)? {
            if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.id == start.partition) {
                partition.begin_at(start.offset);
            }
        }
        Ok(())
    }

    fn find_ends(&mut self, client: &mut KafkaClient) -> Result<(), Failure> {
        for end in client.fetch_topic_offsets(&self.topic, FetchOffset::Latest)? {
            if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.id == end.partition) {
                partition.end = Some(end.offset);
            }
        }
        Ok(())
    }
}

impl Partition {
    fn begin_at(&mut self, offset: i64) {
        if self.next.is_none() {
            self.next = Some(offset);
            // The topic was created anew: these offsets are of other orders.
            self.incarnation += u32::from(offset < std::mem::take(&mut self.gone));
        }
    }

    fn request<'a>(&self, topic: &'a str) -> Option<FetchPartition<'a>> {
        self.next.map(|next| FetchPartition::new(topic, self.id, next).with_max_bytes(self.fetch_bytes))
    }

    fn take_in(&mut self, data: &Data<'_>, orders: &Sender<Order>, read: &mut Read) -> Result<(), Abandoned> {
        self.end = Some(data.highwatermark_offset());
        self.unnamed_errors = 0;
        let next = self.next.unwrap_or_default();
        if data.messages().is_empty() {
            if data.highwatermark_offset() <= next {
                return Ok(());
            }
            read.more = true;
            if self.fetch_bytes < FETCH_BYTES_MAX {
                self.fetch_bytes *= 2;
            } else {
                log::warn!(
                    "partition {}, offset {next}: passed over, the end of a transaction or an order over {FETCH_BYTES_MAX} bytes",
                    self.id
                );
                self.next = Some(next + 1);
                self.fetch_bytes = FETCH_BYTES_MIN;
                read.skipped += 1;
            }
            return Ok(());
        }
        for message in data.messages() {
            if !self.hand_over(message.offset, message.value, orders)? {
                return Ok(());
            }
            read.more = true;
        }
        self.fetch_bytes = FETCH_BYTES_MIN;
        Ok(())
    }

    fn take_in_error(
        &mut self,
        topic: &str,
        error: Arc<kafka::Error>,
        orders: &Sender<Order>,
        read: &mut Read,
    ) -> Result<(), Failure> {
        match *error {
            kafka::Error::Kafka(KafkaCode::OffsetOutOfRange) => {
                log::warn!("topic {topic}, partition {}: offset {:?} is gone", self.id, self.next);
                self.gone = self.next.take().unwrap_or_default();
                read.more = true;
            }
            kafka::Error::Kafka(KafkaCode::Unknown) if self.unnamed_errors < UNNAMED_ERRORS_MAX => self.unnamed_errors += 1,
            kafka::Error::Kafka(KafkaCode::Unknown) => self.pass_over("unknown error", orders, read)?,
            kafka::Error::Kafka(code) => {
                return Err(Failure::Refused { topic: topic.to_owned(), partition: self.id, code });
            }
            _ => return Err(kafka::Error::from(error).into()),
        }
        Ok(())
    }

    /// Hands the order over empty: it is rejected then, with its place, and the next one is read.
    fn pass_over(&mut self, why: &str, orders: &Sender<Order>, read: &mut Read) -> Result<(), Abandoned> {
        let next = self.next.unwrap_or_default();
        if self.hand_over(next, &[], orders)? {
            log::warn!("partition {}, offset {next}: the order cannot be read: {why}", self.id);
            read.more = true;
            read.skipped += 1;
        }
        Ok(())
    }

    /// Whether there was room for it.
    fn hand_over(&mut self, offset: i64, payload: &[u8], orders: &Sender<Order>) -> Result<bool, Abandoned> {
        // Longer ones are rejected for their length: one byte more is enough to show it.
        let payload = &payload[..payload.len().min(ORDER_BYTES_MAX + 1)];
        let order = Order {
            position: Position { partition: self.id, incarnation: self.incarnation, offset },
            payload: payload.to_vec(),
        };
        match orders.try_send(order) {
            Ok(()) => {
                self.next = Some(offset + 1);
                Ok(true)
            }
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(Abandoned),
        }
    }
}

/// Whether the answer came whole and it is its content that the crate cannot read: corrupt, or compressed as it does not know.
fn is_undecodable(error: &kafka::Error) -> bool {
    !matches!(error, kafka::Error::Io(_) | kafka::Error::NoHostReachable)
}
