//! A broker that has forgotten the producer takes a batch a second time: those whose answer was lost are looked for in the log.

use super::*;
use crate::scripted::logs::Log;
use bytes::BytesMut;
use mokasim::bus::kafka::batch::{Stamp, Writer};
use mokasim::bus::kafka::pool::Pool;

const MAY_COME_TWICE: &str = "WARN topic events: a batch whose answer was lost cannot be looked for, and may come twice: ";

/// Four requests are answered, of the fifth the answer is lost.
fn one_lost() -> Vec<(ApiKey, Act)> {
    let mut script = vec![(Produce, Act::Serve); 4];
    script.push((Produce, Act::ServeAndCut));
    script
}

#[test]
fn it_takes_no_record_twice_when_a_connection_breaks_at_any_byte() {
    breaks_at_any_byte(|| broker().forgetful());
}

#[test]
fn it_takes_no_record_twice_when_connections_break_without_end() {
    is_cut_without_end(|| broker().forgetful());
}

#[test]
fn it_takes_no_record_twice_whatever_fails_besides() {
    chaos(100, || broker().forgetful(), failures_and_lost_answers, 10);
    chaos(100, || broker().of_2017().forgetful(), failures_and_lost_answers, 10);
}

/// A batch is taken and answered with REQUEST_TIMED_OUT, the next one is acknowledged, and then the broker forgets both.
#[test]
fn it_is_found_before_one_that_was_acknowledged() {
    let script =
        [(Produce, Act::Serve), (Produce, Act::ServeAndFail(7)), (ListOffsets, Act::Serve), (ListOffsets, Act::Cut)];
    let mut writing = Writing::new(broker().forgetful().script(&script), 1);
    writing.at_once = 100;
    writing.write(100);
    assert!(writing.sim.broker.is_played());
    writing.check("a batch before one that was acknowledged");
}

#[test]
fn what_no_replica_has_yet_is_waited_for() {
    for withheld in [1, 7] {
        let mut broker = broker().forgetful().script(&one_lost());
        broker.withheld = withheld;
        let mut writing = Writing::new(broker, 1);
        writing.write(40);
        writing.check(&format!("{withheld} answers without it"));
        assert_eq!(writing.sim.broker.withheld, 0);
    }
}

/// It is not over because a connection is lost meanwhile.
#[test]
fn that_replicas_do_not_follow_is_told_once_and_until_they_do() {
    heard::listen();
    let mut script = one_lost();
    script.extend(vec![(ListOffsets, Act::Serve); 40]);
    script.push((ListOffsets, Act::Cut));
    let mut broker = broker().script(&script);
    broker.withheld = 100;
    let mut writing = Writing::new(broker, 1);
    let mut reasons = Vec::new();
    writing.write_seeing(40, |writing| reasons.extend(writing.reason()));
    writing.check("replicas that do not follow");
    assert!(writing.sim.broker.is_played());
    let expected = format!("topic {TOPIC}: NotEnoughReplicasAfterAppend (20)");
    assert_eq!((reasons.last(), writing.reason()), (Some(&expected), None));
    let lines: Vec<String> = heard::lines().into_iter().filter(|line| line.contains("topic")).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].starts_with(&format!("INFO topic {TOPIC}: records are taken again after ")), "{lines:#?}");
}

#[test]
fn every_error_code_and_broken_answer_of_the_search_is_survived() {
    let codes = (-1..=120).filter(|code| *code != 0).map(Act::Fail);
    for act in codes.chain(BROKEN_ANSWERS) {
        for api in [ListOffsets, Fetch] {
            let mut script = one_lost();
            script.extend([(api, act.clone()), (api, act.clone())]);
            let mut writing = Writing::new(broker().script(&script), 1);
            writing.write(60);
            writing.check(&format!("{act:?} for {api:?}"));
            assert_eq!(writing.producer.refused(), 0, "{act:?} for {api:?}");
        }
    }
}

/// Who may write to a topic and not read it is left to the broker's memory, and told so.
#[test]
fn a_log_that_may_not_be_read_holds_nothing_up() {
    heard::listen();
    let mut script = one_lost();
    script.extend(vec![(Fetch, Act::Fail(29)); 9]);
    let mut writing = Writing::new(broker().script(&script), 1);
    let mut reasons = Vec::new();
    writing.write_seeing(60, |writing| reasons.extend(writing.reason()));
    writing.check("a topic that may not be read");
    assert!(!reasons.iter().any(|reason| reason.starts_with("topic")), "{reasons:?}");
    assert!(writing.sim.elapsed() < Duration::from_secs(2), "{:?}", writing.sim.elapsed());
    let lines: Vec<String> = heard::lines().into_iter().filter(|line| line.contains("topic")).collect();
    assert_eq!(lines, [format!("{MAY_COME_TWICE}TopicAuthorizationFailed (29)")]);
}

/// What others write is read in pieces, and what has been deleted is passed over, and told.
#[test]
fn it_is_found_among_what_others_write() {
    for deletes in [false, true] {
        heard::listen();
        let mut writing = Writing::new(broker().forgetful().script(&one_lost()), 1);
        writing.write(4);
        let ends: Vec<i64> = logs(&mut writing).iter().map(|log| log.end).collect();
        others_write(logs(&mut writing));
        while !writing.sim.broker.is_played() {
            writing.pushed += usize::from(writing.push(writing.pushed));
            writing.turn();
        }
        others_write(logs(&mut writing));
        if deletes {
            logs(&mut writing).iter_mut().zip(&ends).for_each(|(log, end)| log.delete_before(end + 1));
        }
        writing.write(40);
        let deleted = if deletes { ends.iter().sum::<i64>() } else { 0 };
        writing.check_but(deleted as usize, &format!("deletes: {deletes}"));
        let told = heard::lines().iter().any(|line| line.starts_with(MAY_COME_TWICE));
        assert_eq!(told, deletes);
        assert!(writing.sim.broker.count(Fetch) > 3, "{} pieces", writing.sim.broker.count(Fetch));
    }
}

fn logs(writing: &mut Writing) -> &mut [Log] {
    &mut writing.sim.broker.topics.get_mut(TOPIC).unwrap().logs
}

/// Three batches in each partition, of which not two are fetched at once.
fn others_write(logs: &mut [Log]) {
    let record = Record { key: b"", value: &[b'x'; 700_000], timestamp_ms: 1, headers: &[] };
    let nobody = Stamp { producer_id: -1, producer_epoch: -1, sequence: -1 };
    for log in logs {
        for _ in 0..3 {
            let mut batch = Writer::new(BytesMut::new());
            batch.append(&record);
            log.append(&batch.seal(Codec::None, &mut Pool::new(1, 0)).stamped(nobody)).unwrap();
        }
    }
}
