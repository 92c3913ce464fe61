//! Topics that are created, against the scripted broker.

use crate::scripted::sim::{Sim, Way};
use crate::scripted::{Act, Broker, Script};
use kafka_protocol::messages::ApiKey::CreateTopics;
use mokasim::bus::kafka::create::{Creation, Fate, NewTopics};
use std::time::Duration;

const REQUEST_TIMED_OUT: i16 = 7;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const INVALID_CONFIG: i16 = 40;
const NOT_CONTROLLER: i16 = 41;
/// Invented time within which each creation comes to its end.
const PATIENCE: Duration = Duration::from_secs(120);

fn broker(script: Script<'_>) -> Broker {
    Broker::new(&[("there", 2)]).script(script)
}

/// Creates `there` and `missing`, and returns what became of them.
fn create(sim: &mut Sim) -> [Fate; 2] {
    let wanted = NewTopics {
        names: vec!["there".into(), "missing".into()],
        partitions: 3,
        configs: &[("retention.ms", "-1")],
        configs_if_known: &[("message.timestamp.after.max.ms", "1")],
    };
    let mut creation = Creation::new(wanted, &mut sim.cluster, sim.now);
    let mut fates = None;
    while fates.is_none() {
        assert!(sim.elapsed() < PATIENCE, "{creation:#?}");
        sim.turn(|cluster, now| {
            fates = creation.poll(cluster, now);
            creation.deadline(now)
        });
    }
    let (names, fates): (Vec<String>, Vec<Fate>) = fates.unwrap().into_iter().unzip();
    assert_eq!(names, ["there", "missing"]);
    fates.try_into().unwrap()
}

fn partitions(sim: &Sim) -> [usize; 2] {
    ["there", "missing"].map(|name| sim.broker.topics.get(name).map_or(0, |topic| topic.logs.len()))
}

fn asked(sim: &Sim) -> usize {
    sim.broker.count(CreateTopics)
}

#[test]
fn what_is_missing_is_created_and_the_rest_left_alone() {
    for broker in [broker(&[]), broker(&[]).of_2017()] {
        let mut sim = Sim::new(broker, 1);
        assert_eq!(create(&mut sim), [Fate::Existed, Fate::Created]);
        assert_eq!((partitions(&sim), asked(&sim)), ([2, 3], 1));
        sim.restart();
        assert_eq!(create(&mut sim), [Fate::Existed, Fate::Existed]);
        assert_eq!((partitions(&sim), asked(&sim)), ([2, 3], 1), "nothing is missing, so nothing is asked for");
    }
}

#[test]
fn what_time_mends_and_settings_that_are_not_known_are_asked_again() {
    for act in [
        Act::Fail(REQUEST_TIMED_OUT),
        Act::Fail(NOT_CONTROLLER),
        Act::Fail(INVALID_CONFIG),
        Act::Cut,
        Act::Silence,
        Act::WrongCorrelation,
        Act::Length(-1),
        Act::Body(b"nonsense"),
    ] {
        let mut sim = Sim::new(broker(&[(CreateTopics, act.clone())]), 2);
        assert_eq!(create(&mut sim)[0], Fate::Existed, "{act:?}");
        assert_eq!((partitions(&sim), asked(&sim)), ([2, 3], 2), "{act:?}");
    }
}

#[test]
fn a_refusal_is_final() {
    for act in [Act::Fail(TOPIC_AUTHORIZATION_FAILED), Act::Fail(INVALID_CONFIG)] {
        let mut sim = Sim::new(broker(&[(CreateTopics, act.clone()), (CreateTopics, act.clone())]), 3);
        let [there, missing] = create(&mut sim);
        assert_eq!(there, Fate::Existed);
        assert!(matches!(missing, Fate::Refused(_)), "{missing:?}");
        assert_eq!(partitions(&sim), [2, 0]);
    }
}

#[test]
fn a_cut_at_any_byte_does_no_harm() {
    let mut whole = Sim::new(broker(&[]), 4);
    create(&mut whole);
    for (way, bytes) in [(Way::ToBroker, whole.bytes[0]), (Way::ToClient, whole.bytes[1])] {
        for at in 0..bytes {
            let mut sim = Sim::new(broker(&[]), 4);
            sim.cuts = [(way, at)].into();
            let [there, missing] = create(&mut sim);
            assert_eq!((there, partitions(&sim)), (Fate::Existed, [2, 3]), "{way:?} {at}");
            assert!(!matches!(missing, Fate::Refused(_)), "{way:?} {at}");
        }
    }
}
