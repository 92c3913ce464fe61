"""An independent Kafka client for tests: librdkafka by confluent-kafka, records as JSON lines.

  client.py produce BOOTSTRAP TOPIC [KEY=VALUE]...   sends {"key", "value" or "bytes", "partition"?, "headers"?} lines of
                                                     standard input; with transactional.id, in one transaction
  client.py consume BOOTSTRAP TOPICS [KEY=VALUE]...  prints every record of the topics (several by comma), up to their ends
  client.py create  BOOTSTRAP TOPIC PARTITIONS [KEY=VALUE]...
  client.py leader  BOOTSTRAP TOPIC PARTITION [KEY=VALUE]...     prints the number of the partition's leader
  client.py state   BOOTSTRAP GROUP [KEY=VALUE]...               prints the state of a consumer group

KEY=VALUE: configuration of librdkafka. A value that is no UTF-8 comes out with replacement characters.
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TIMEOUT_S = 30


def configuration(bootstrap, settings, **more):
    return {"bootstrap.servers": bootstrap, **more, **dict(setting.split("=", 1) for setting in settings)}


def produce(bootstrap, topic, *settings):
    producer = Producer(configuration(bootstrap, settings, **{"linger.ms": 20}))
    failures = []
    transactional = any(setting.startswith("transactional.id=") for setting in settings)
    if transactional:
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
    for line in sys.stdin:
        record = json.loads(line)
        where = {"partition": record["partition"]} if "partition" in record else {}
        producer.produce(
            topic,
            key=record.get("key"),
            value=bytes(record["bytes"]) if "bytes" in record else record["value"],
            headers=record.get("headers"),
            on_delivery=lambda error, _: failures.append(error) if error else None,
            **where,
        )
        producer.poll(0)
    if transactional:
        producer.commit_transaction(TIMEOUT_S)
    left = producer.flush(TIMEOUT_S)
    if failures or left:
        sys.exit(f"not delivered: {failures[:1]} and {left} without an answer")


def consume(bootstrap, topics, *settings):
    consumer = Consumer(
        configuration(bootstrap, settings, **{"group.id": "client.py", "enable.partition.eof": True, "enable.auto.commit": False})
    )
    known = {topic: consumer.list_topics(topic, TIMEOUT_S).topics[topic] for topic in topics.split(",")}
    unfinished = {(topic, partition) for topic in known for partition in known[topic].partitions}
    consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in unfinished])
    while unfinished:
        message = consumer.poll(TIMEOUT_S)
        if message is None:
            sys.exit(f"no answer; partitions not read to their end: {sorted(unfinished)}")
        if message.error() is None:
            print(json.dumps(as_json(message)))
        elif message.error().code() == KafkaError._PARTITION_EOF:
            unfinished.discard((message.topic(), message.partition()))
        else:
            sys.exit(str(message.error()))
    consumer.close()


def as_json(message):
    def text(value):
        return None if value is None else value.decode(errors="replace")

    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": {name: text(value) for name, value in message.headers() or []},
    }


def create(bootstrap, topic, partitions, *settings):
    admin = AdminClient(configuration(bootstrap, settings))
    admin.create_topics([NewTopic(topic, int(partitions))])[topic].result(TIMEOUT_S)


def leader(bootstrap, topic, partition, *settings):
    topics = AdminClient(configuration(bootstrap, settings)).list_topics(topic, TIMEOUT_S).topics
    print(topics[topic].partitions[int(partition)].leader)


def state(bootstrap, group, *settings):
    # The newer calls never end where the group waits for its members.
    print(*(found.state for found in AdminClient(configuration(bootstrap, settings)).list_groups(group, TIMEOUT_S)))


if __name__ == "__main__":
    commands = {"produce": produce, "consume": consume, "create": create, "leader": leader, "state": state}
    if len(sys.argv) < 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
