//! A broker forgets a producer whose records are of long ago: it would take a batch that is sent again a second time.

use crate::broker::wait_for;
use crate::{PATIENCE, each_version, settings};
use mokasim::bus::kafka::batch::Record;
use mokasim::bus::kafka::client::Client;
use mokasim::bus::kafka::error::Failure;
use mokasim::bus::kafka::inflate::Codec;
use mokasim::bus::kafka::link::{Lane, Target};
use mokasim::bus::kafka::producer::{Producer, ProducerSettings};
use mokasim::clock;
use std::time::Duration;

const TOPIC: &str = "of-long-ago";
/// In 2020.
const LONG_AGO_MS: i64 = 1_600_000_000_000;
const RECORDS: usize = 20;

#[test]
fn a_batch_whose_answer_was_lost_is_found_in_the_log() {
    each_version(|cluster| {
        cluster.create(TOPIC, 1);
        let mut client = Client::new(settings(cluster), clock::now()).unwrap();
        let (linger, codec) = (Duration::ZERO, Codec::None);
        let buffers = ProducerSettings { batch_bytes: 1 << 14, linger, codec, buffer_bytes: 1 << 20 };
        let mut producer = Producer::new(buffers, [TOPIC], clock::now());
        let written = || cluster.consume(TOPIC, &[]).into_iter().map(|record| record.value).collect::<Vec<_>>();
        let mut pushed = Vec::new();
        for round in 0..3 {
            for n in 0..RECORDS {
                let value = format!("{round}-{n:02}");
                let record = Record { key: b"", value: value.as_bytes(), timestamp_ms: LONG_AGO_MS, headers: &[] };
                run(&mut client, &mut producer, |producer| producer.push(0, &record).is_ok());
                pushed.push(value);
            }
            if round > 0 {
                let mut turns = 0;
                run(&mut client, &mut producer, |_| {
                    turns += 1;
                    turns > 1
                });
                let broker = Target { broker: 1, lane: Lane::Main };
                client.cluster.fail(broker, &Failure::Io("cut by the test".into()), clock::now());
                wait_for("the broker to take the batch", || written().len() >= pushed.len());
                let producers = ["describe-producers", "--topic", TOPIC, "--partition", "0"];
                wait_for("it to forget the producer", || {
                    cluster.tool("TransactionsCommand", &producers).trim().lines().count() == 1
                });
                assert_eq!(producer.records(), RECORDS as u64, "the answer was lost");
            }
            run(&mut client, &mut producer, |producer| producer.records() == 0);
            assert_eq!(written(), pushed);
        }
        assert_eq!(producer.acknowledged(), pushed.len() as u64);
    });
}

/// Lets the client run until `done`.
fn run(client: &mut Client, producer: &mut Producer, mut done: impl FnMut(&mut Producer) -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !done(producer) {
        let now = clock::now();
        assert!(now < deadline, "{producer:#?}");
        client.receive(now);
        producer.poll(&mut client.cluster, now);
        client.send(now);
        client.wait(now, now + Duration::from_millis(10));
    }
}
