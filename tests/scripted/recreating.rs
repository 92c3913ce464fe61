//! The orders topic is deleted and created again while it is read.

use crate::consuming::{Reading, TOPIC, add_order, with_orders};
use crate::scripted::{Act, Broker, heard};
use kafka_protocol::messages::ApiKey::Fetch;
use std::collections::BTreeSet;
use std::time::Duration;

fn pass(reading: &mut Reading, time: Duration) {
    let end = reading.sim.elapsed() + time;
    reading.until("passed", |reading| reading.sim.elapsed() >= end);
}

/// Reads orders, loses their topic for `away`, and reads those of the next; then once more.
fn reads_each_topic_of_the_name(broker_of: impl Fn(Broker) -> Broker, has_ids: bool, away: Duration) {
    let (broker, mut values) = with_orders(8);
    let mut reading = Reading::new(broker_of(broker), 1);
    reading.until("read", |reading| reading.seen.len() == values.len());
    for time in ["first", "second"] {
        reading.sim.broker.delete(TOPIC);
        pass(&mut reading, away);
        reading.sim.broker.create(TOPIC, 2);
        // Fewer in one partition than were read of it, none in the other for now.
        add_order(&mut reading.sim.broker, 0, &format!("{time}-0"));
        values.push(format!("{time}-0"));
        reading.until("read anew", |reading| reading.seen.len() == values.len());
        if !has_ids {
            // Only that a log ends before what was read of it shows that it is another.
            reading.until("begun anew", |reading| reading.consumer.place(1).is_some_and(|place| place.next == 0));
        }
        for n in 1..9 {
            add_order(&mut reading.sim.broker, n % 2, &format!("{time}-{n}"));
            values.push(format!("{time}-{n}"));
        }
        reading.until("read on", |reading| reading.seen.len() == values.len());
    }
    let positions: BTreeSet<_> = reading.positions.iter().collect();
    assert_eq!(positions.len(), values.len(), "each position once: {:?}", reading.positions);
    values.sort();
    reading.read_and_close(&values);
}

#[test]
fn its_orders_are_read_once_each_and_are_no_redeliveries() {
    type Make = fn(Broker) -> Broker;
    let kinds: [(Make, bool); 3] = [(|broker| broker, true), (Broker::classic, true), (Broker::of_2017, false)];
    for (kind, (broker_of, has_ids)) in ["modern", "classic", "of 2017"].into_iter().zip(kinds) {
        for away in [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(400)] {
            eprintln!("{kind}, away for {away:?}");
            reads_each_topic_of_the_name(broker_of, has_ids, away);
        }
    }
}

fn told() -> Vec<String> {
    heard::lines().into_iter().filter(|line| line.contains("topic orders")).collect()
}

#[test]
fn that_it_is_away_is_told_once_when_it_has_lasted_and_when_it_is_over() {
    for broker_of in [|broker| broker, Broker::classic] {
        heard::listen();
        let (broker, values) = with_orders(4);
        let mut reading = Reading::new(broker_of(broker), 1);
        reading.until("read", |reading| reading.seen.len() == values.len());
        reading.sim.broker.delete(TOPIC);
        pass(&mut reading, Duration::from_secs(8));
        assert_eq!((reading.consumer.trouble(), told()), (None, vec![]));
        pass(&mut reading, Duration::from_secs(60));
        assert!(reading.consumer.trouble().is_some_and(|reason| reason.contains("orders is not read: Unknown")));
        reading.sim.broker.create(TOPIC, 2);
        reading.until("over", |reading| reading.consumer.trouble().is_none());
        pass(&mut reading, Duration::from_secs(10));
        let lines = told();
        assert!(lines.len() <= 3 && lines[0].starts_with("WARN") && lines[0].contains("UnknownTopic"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("read again after")), "{lines:#?}");
    }
}

#[test]
fn a_topic_that_may_not_be_read_is_told_at_once_and_once() {
    heard::listen();
    let (broker, values) = with_orders(4);
    let mut reading = Reading::new(broker.script(&[(); 20].map(|()| (Fetch, Act::Fail(29)))), 1);
    reading.until("told", |reading| reading.consumer.trouble().is_some());
    assert!(reading.sim.elapsed() < Duration::from_secs(2), "{:?}", reading.sim.elapsed());
    assert_eq!(&**reading.consumer.trouble().unwrap(), "topic orders is not read: TopicAuthorizationFailed (29)");
    reading.until("read", |reading| reading.seen.len() == values.len());
    pass(&mut reading, Duration::from_secs(1));
    assert_eq!((reading.consumer.trouble(), told().len()), (None, 2));
}
