//! Static members against the scripted broker: who may have a name, and what becomes of the other.

use crate::consuming::{GROUP, Reading, TOPIC, add_order, consumer, with_orders};
use crate::scripted::{Act, Broker, Script, heard};
use kafka_protocol::messages::ApiKey::*;
use mokasim::bus::kafka::error::Failure;
use mokasim::bus::kafka::group::{GroupSettings, Trouble};
use mokasim::bus::kafka::link::{Lane, Target};
use std::time::Duration;

/// A static member of the broker's group, of whose run before this one the member id is known or not.
fn reading(broker: Broker, previous_member_id: Option<&str>) -> Reading {
    let mut reading = Reading::new(broker, 1);
    let group = GroupSettings {
        instance_id: Some("edge-1".into()),
        previous_member_id: previous_member_id.map(str::to_owned),
        ..GroupSettings::new(GROUP, TOPIC)
    };
    reading.consumer = consumer(&reading.sim.broker, group);
    reading
}

/// The same while a process of this id has the name.
fn reading_beside(member_id: &str, script: Script<'_>, previous_member_id: Option<&str>) -> (Reading, Vec<String>) {
    let (mut broker, values) = with_orders(4);
    broker.set_member(member_id);
    (reading(broker.script(script), previous_member_id), values)
}

fn pass(reading: &mut Reading, time: Duration) {
    let end = reading.sim.elapsed() + time;
    reading.until("passed", |reading| reading.sim.elapsed() >= end);
}

fn is_replaced(reading: &Reading) -> bool {
    matches!(reading.consumer.group().trouble(), Some(Trouble::Replaced { .. }))
}

#[test]
fn it_leaves_without_a_word() {
    for modern in [false, true] {
        let (broker, values) = with_orders(2);
        let mut reading = reading(if modern { broker } else { broker.classic() }, None);
        reading.read_and_close(&values);
        assert_eq!(reading.sim.broker.count(LeaveGroup), 0);
        assert!(!modern || reading.sim.broker.member().1, "its place is kept for its next run");
    }
}

#[test]
fn the_place_of_a_run_known_to_be_dead_is_taken_at_once_and_nobody_is_told_of_it() {
    let (mut reading, values) = reading_beside("before", &[], Some("before"));
    reading.until("read", |reading| reading.seen.len() == values.len());
    assert!(reading.sim.elapsed() < Duration::from_secs(1), "{:?}", reading.sim.elapsed());
    assert_eq!((reading.consumer.group().errors(), reading.consumer.group().trouble()), (0, None));
    reading.read_and_close(&values);
}

/// Neither an answer that is lost nor a coordinator that is busy makes it give up its claim.
#[test]
fn a_release_that_was_not_answered_is_said_again() {
    for act in [Act::Cut, Act::ServeAndCut, Act::Fail(14), Act::Fail(16)] {
        let script = [(ConsumerGroupHeartbeat, Act::Serve), (ConsumerGroupHeartbeat, act)];
        let (mut reading, values) = reading_beside("before", &script, Some("before"));
        reading.until("read", |reading| reading.seen.len() == values.len());
        assert!(reading.sim.elapsed() < Duration::from_secs(2), "{script:?}: {:?}", reading.sim.elapsed());
    }
}

/// Whatever id it knows of its own past, it is not the other's.
#[test]
fn a_twin_puts_nobody_out_and_waits_until_the_name_is_free() {
    for previous in [None, Some("before")] {
        let (mut reading, values) = reading_beside("twin", &[], previous);
        pass(&mut reading, Duration::from_secs(60));
        assert_eq!(reading.sim.broker.member(), ("twin", false));
        assert!(reading.seen.is_empty() && !reading.consumer.is_closed());
        let asked = reading.sim.broker.count(ConsumerGroupHeartbeat);
        assert!((20..50).contains(&asked), "asked {asked} times in a minute");
        let trouble = reading.consumer.group().told_trouble().unwrap();
        assert_eq!(*trouble, Trouble::NameTaken { instance_id: "edge-1".into() });

        reading.sim.broker.set_member("");
        reading.until("read", |reading| reading.seen.len() == values.len());
        assert_eq!(reading.consumer.group().trouble(), None);
        reading.read_and_close(&values);
    }
}

#[test]
fn a_twin_that_waits_can_be_closed() {
    let (mut reading, _) = reading_beside("twin", &[], None);
    pass(&mut reading, Duration::from_secs(10));
    reading.consumer.close();
    reading.until("closed", |reading| reading.consumer.is_closed());
    assert_eq!(reading.sim.broker.member(), ("twin", false));
}

/// Three ways to hear of it: at once; by an epoch that is no longer right, when the other was already there or not yet.
#[test]
fn a_member_that_was_replaced_stops_for_good_and_does_not_strike_back() {
    for answer in [Act::Serve, Act::Fail(25), Act::Fail(110)] {
        let (broker, values) = with_orders(4);
        let mut reading = reading(broker, None);
        reading.until("read", |reading| reading.seen.len() == values.len());
        pass(&mut reading, Duration::from_secs(5));
        reading.sim.broker.set_member("twin");
        reading.sim.broker.extend_script(&[(ConsumerGroupHeartbeat, answer)]);
        reading.until("replaced", is_replaced);
        assert!(reading.consumer.is_closed() && reading.consumer.group().assigned().is_empty());
        pass(&mut reading, Duration::from_secs(60));
        assert_eq!(reading.sim.broker.member(), ("twin", false));
        reading.sim.broker.set_member("");
        pass(&mut reading, Duration::from_secs(60));
        assert!(is_replaced(&reading) && reading.sim.broker.member() == ("", false), "it came back");
    }
}

#[test]
fn a_classic_member_that_was_replaced_stops_for_good() {
    let (broker, values) = with_orders(4);
    let mut reading = reading(broker.classic().script(&[(Heartbeat, Act::Fail(82))]), None);
    reading.until("replaced", is_replaced);
    assert_eq!(reading.seen.len(), values.len());
    assert!(reading.consumer.is_closed() && reading.consumer.group().assigned().is_empty());
    let joined = reading.sim.broker.count(JoinGroup);
    pass(&mut reading, Duration::from_secs(60));
    assert_eq!(reading.sim.broker.count(JoinGroup), joined);
}

/// A coordinator keeps those that join waiting until all members have, or their rebalance time-out is over.
#[test]
fn a_rebalance_that_others_hold_up_is_told() {
    for request in [JoinGroup, SyncGroup] {
        let (broker, values) = with_orders(2);
        let held = Act::Delay(Duration::from_secs(30));
        let mut reading = reading(broker.classic().script(&[(request, held)]), None);
        pass(&mut reading, Duration::from_secs(9));
        assert_eq!(reading.consumer.group().told_trouble(), None);
        pass(&mut reading, Duration::from_secs(3));
        assert_eq!(reading.consumer.group().told_trouble(), Some(&Trouble::Rebalancing));
        reading.until("read", |reading| reading.seen.len() == values.len());
        assert_eq!(reading.consumer.group().trouble(), None);
        reading.read_and_close(&values);
    }
}

/// A member of a classic group that has read `values` and whose second JoinGroup is parked.
fn rejoining() -> (Reading, Vec<String>) {
    let (broker, values) = with_orders(4);
    let parked = Act::Delay(Duration::from_secs(30));
    let script = [(Heartbeat, Act::Fail(27)), (JoinGroup, Act::Serve), (JoinGroup, Act::Serve), (JoinGroup, parked)];
    let mut reading = Reading::new(broker.classic().script(&script), 1);
    reading.until("read", |reading| reading.seen.len() == values.len());
    reading.until("joining again", |reading| reading.sim.broker.count(JoinGroup) == 3);
    (reading, values)
}

#[test]
fn one_that_leaves_while_others_hold_up_a_rebalance_does_not_wait_for_it() {
    let (mut reading, _) = rejoining();
    let asked = reading.sim.elapsed();
    reading.consumer.close();
    reading.until("closed", |reading| reading.consumer.is_closed());
    assert!(reading.sim.elapsed() < asked + Duration::from_secs(1));
    assert_eq!(reading.sim.broker.count(LeaveGroup), 1);
}

/// The broker answers by two connections: that the generation is over may be heard before the next one is known.
#[test]
fn a_commit_that_a_rebalance_overtakes_is_made_in_the_next_generation() {
    let (mut reading, mut values) = rejoining();
    values.push("order-04".into());
    add_order(&mut reading.sim.broker, 0, "order-04");
    reading.read_and_close(&values);
    assert_eq!(reading.sim.broker.count(LeaveGroup), 1);
}

/// Its session has ended, or it was declared gone, and nobody else has its name.
#[test]
fn a_member_that_was_silent_for_too_long_comes_back() {
    for answer in [Act::Serve, Act::Fail(110), Act::Fail(111)] {
        let (broker, mut values) = with_orders(4);
        let mut reading = reading(broker, None);
        reading.until("read", |reading| reading.seen.len() == values.len());
        pass(&mut reading, Duration::from_secs(5));
        if answer == Act::Serve {
            reading.sim.broker.set_member("");
        }
        reading.sim.broker.extend_script(&[(ConsumerGroupHeartbeat, answer)]);
        pass(&mut reading, Duration::from_secs(5));
        add_order(&mut reading.sim.broker, 0, "order-99");
        values.push("order-99".into());
        reading.until("read", |reading| reading.seen.len() == values.len());
        reading.read_and_close(&values);
    }
}

/// The name is then its own already.
#[test]
fn a_join_whose_answer_was_lost_costs_no_session() {
    let (broker, values) = with_orders(4);
    let mut reading = reading(broker.script(&[(ConsumerGroupHeartbeat, Act::ServeAndCut)]), Some("before"));
    reading.until("read", |reading| reading.seen.len() == values.len());
    assert!(reading.sim.elapsed() < Duration::from_secs(2), "{:?}", reading.sim.elapsed());
    reading.read_and_close(&values);
}

#[test]
fn a_group_that_may_not_be_looked_up_is_told_once_until_it_may() {
    heard::listen();
    let (broker, values) = with_orders(4);
    let mut reading = Reading::new(broker.script(&[(); 5].map(|()| (FindCoordinator, Act::Fail(30)))), 1);
    reading.until("refused", |reading| reading.consumer.group().told_trouble().is_some());
    reading.until("read", |reading| reading.seen.len() == values.len());
    let (errors, trouble) = (reading.consumer.group().errors(), reading.consumer.group().trouble());
    assert_eq!((errors, trouble), (5, None));
    let lines: Vec<_> = heard::lines().into_iter().filter(|line| line.contains("consumer group")).collect();
    assert!(lines.len() == 2 && lines[0].contains("GroupAuthorizationFailed") && lines[1].contains("goes on"), "{lines:#?}");
}

/// The group would wait for the one that it was, as for one that is silent.
#[test]
fn a_member_of_an_old_generation_joins_again_as_itself() {
    let (broker, values) = with_orders(4);
    let mut reading = Reading::new(broker.classic(), 1);
    reading.until("read", |reading| reading.seen.len() == values.len());
    let (member_id, generation) = reading.consumer.group().identity().unwrap();
    reading.sim.broker.extend_script(&[(Heartbeat, Act::Fail(22))]);
    reading.until("refused", |reading| reading.sim.broker.is_played());
    reading.until("a member", |reading| reading.consumer.group().identity().is_some_and(|(_, now)| now != generation));
    assert_eq!(reading.consumer.group().identity().unwrap().0, member_id);
    reading.read_and_close(&values);
}

/// As a cluster does whose broker was killed, until it notices.
#[test]
fn a_coordinator_that_is_named_and_is_not_there_is_looked_for_again() {
    for modern in [false, true] {
        let (broker, mut values) = with_orders(4);
        let broker = if modern { broker } else { broker.classic() };
        let mut reading = Reading::new(broker, 1);
        reading.sim.broker.absent_coordinators = 3;
        reading.until("read", |reading| reading.seen.len() == values.len());
        let looked_up = reading.sim.broker.count(FindCoordinator);
        assert!((4..10).contains(&looked_up), "{looked_up} times");

        // Nothing is in flight when its broker goes.
        pass(&mut reading, Duration::from_millis(500));
        reading.sim.broker.absent_coordinators = 3;
        let gone = Failure::Closed { in_handshake: false };
        reading.sim.cluster.fail(Target { broker: 1, lane: Lane::Group }, &gone, reading.sim.now);
        for n in 4..8 {
            values.push(format!("order-{n:02}"));
            add_order(&mut reading.sim.broker, n % 2, &values[n]);
        }
        reading.read_and_close(&values);
    }
}

#[test]
fn a_coordinator_that_stays_away_is_told_once_until_it_is_found() {
    heard::listen();
    let (broker, values) = with_orders(4);
    let mut reading = Reading::new(broker, 1);
    reading.sim.broker.absent_coordinators = usize::MAX;
    reading.until("told", |reading| reading.consumer.group().told_trouble() == Some(&Trouble::NoCoordinator));
    let told_after = reading.sim.elapsed();
    assert!((10..12).contains(&told_after.as_secs()), "{told_after:?}");
    pass(&mut reading, Duration::from_secs(60));
    reading.sim.broker.absent_coordinators = 0;
    reading.until("read", |reading| reading.seen.len() == values.len());
    assert_eq!(reading.consumer.group().trouble(), None);
    let lines: Vec<_> = heard::lines().into_iter().filter(|line| line.contains("consumer group")).collect();
    assert!(lines.len() == 2 && lines[0].contains("cannot be reached") && lines[1].contains("goes on"), "{lines:#?}");
}
