//! Orders in: every whole line once and in order, whoever writes, replaces or empties the file, and through restarts.

use crate::folder::Folder;
use crate::seeds::{Random, for_seeds};
use mokasim::bus::spool::append_orders;
use mokasim::bus::{Bus as _, Taken};
use mokasim::wire::ORDER_BYTES_MAX;
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_line_may_be_an_order_or_a_record_of_one() {
    let mut folder = Folder::roomy();
    folder.append(
        "orders",
        "{\"codice_lotto\":\"L1\"}\n\n  \r\n{\"key\":\"k\",\"value\":{\"codice_lotto\":\"L2\"}}\nnonsense\n{\"codice",
    );
    assert_eq!(folder.orders(), [r#"{"codice_lotto":"L1"}"#, r#"{"codice_lotto":"L2"}"#, "nonsense"]);
    assert_eq!(folder.spool().status().consumer_lag, Some(0));
    folder.append("orders", "_lotto\":\"L3\"}\n");
    assert_eq!(folder.orders(), [r#"{"codice_lotto":"L3"}"#]);
    assert_eq!(folder.orders(), [""; 0]);
}

#[test]
fn an_order_there_is_no_room_for_comes_again_and_nothing_before_it() {
    let mut folder = Folder::roomy();
    folder.append("orders", "a\nb\nc\n");
    let mut seen = Vec::new();
    folder.poll(10, |position, payload| {
        seen.push((position.offset, payload.to_vec()));
        if payload == b"b" { Taken::Later } else { Taken::Done }
    });
    assert_eq!(seen, [(0, b"a".to_vec()), (2, b"b".to_vec())]);
    assert_eq!(folder.spool().status().consumer_lag, Some(2));
    folder.append("orders", "d\n");
    assert_eq!(folder.orders(), ["b", "c"]);
    assert_eq!(folder.orders(), ["d"]);
    assert_eq!(folder.spool().status().consumer_lag, Some(0));
}

/// Lines as people and programs write them, with what of each is to be handed over.
fn random_lines(random: &mut Random, count: usize) -> Vec<(String, Option<String>)> {
    let line = |n: usize| match random.random_range(0..20) {
        0 => (" ".repeat(n % 3), None),
        1 => {
            let line = format!("{n} {}", "è".repeat(random.random_range(ORDER_BYTES_MAX / 2 - 4..3 * ORDER_BYTES_MAX)));
            let cut = line.as_bytes()[..line.len().min(ORDER_BYTES_MAX + 1)].to_vec();
            (line, Some(String::from_utf8_lossy(&cut).into_owned()))
        }
        2 => (format!(r#"{{"value":{{"n":{n}}}}}"#), Some(format!(r#"{{"n":{n}}}"#))),
        _ => {
            let line = format!(r#"{{"codice_lotto":"{n}","cliente":"{}"}}"#, "ò".repeat(random.random_range(0..300)));
            (line.clone(), Some(line))
        }
    };
    (0..count).map(line).collect()
}

#[test]
fn every_whole_line_is_handed_over_once_in_order_however_it_is_written() {
    for_seeds(30, |random| {
        let mut folder = Folder::roomy();
        let lines = random_lines(random, 120);
        let text: String = lines.iter().map(|(line, _)| line.clone() + "\n").collect();
        let mut rest = text.as_bytes();
        let (mut found, mut offset) = (Vec::new(), -1);
        for calm in 0.. {
            let len = if random.random_bool(0.5) { random.random_range(0..200) } else { random.random_range(0..100_000) };
            let (now, later) = rest.split_at(len.min(rest.len()));
            folder.append("orders", now);
            rest = later;
            folder.poll(random.random_range(0..20), |position, payload| {
                if random.random_bool(0.1) {
                    return Taken::Later;
                }
                assert!(position.offset > offset, "{} after {offset}", position.offset);
                offset = position.offset;
                found.push(String::from_utf8_lossy(payload).into_owned());
                Taken::Done
            });
            if random.random_bool(0.1) {
                folder.close();
                folder.restart();
            }
            if rest.is_empty() && calm > 1000 {
                break;
            }
        }
        let expected: Vec<_> = lines.into_iter().filter_map(|(_, payload)| payload).collect();
        assert!(found == expected, "{} of {}", found.len(), expected.len());
        assert_eq!(folder.spool().status().consumer_lag, Some(0));
    });
}

#[test]
fn a_crash_loses_no_order_and_repeats_only_those_of_the_last_second() {
    for_seeds(20, |random| {
        let mut folder = Folder::roomy();
        let mut found = BTreeMap::new();
        let mut written = Vec::new();
        let mut taken_at: BTreeMap<i64, Instant> = BTreeMap::new();
        for n in 0..300 {
            let line = format!(r#"{{"codice_lotto":"{n}"}}"#);
            folder.append("orders", line.clone() + "\n");
            written.push(line);
            let now = folder.now;
            folder.poll(3, |position, payload| {
                let payload = String::from_utf8(payload.to_vec()).unwrap();
                if let Some(before) = found.insert(position.offset, payload.clone()) {
                    assert_eq!(before, payload);
                }
                if let Some(before) = taken_at.insert(position.offset, now) {
                    assert!(now - before < Duration::from_millis(1500), "repeated an old order");
                }
                Taken::Done
            });
            if random.random_bool(0.05) {
                folder.restart();
            }
        }
        folder.orders().into_iter().for_each(drop);
        let found: Vec<_> = found.into_values().collect();
        assert_eq!(found, written[..found.len()]);
        assert!(found.len() + 100 >= written.len());
    });
}

#[test]
fn an_orders_file_that_is_emptied_replaced_or_deleted_is_read_from_its_beginning() {
    type Change = fn(&Folder, &str);
    let emptied: Change = |folder, text| {
        fs::write(folder.path("orders"), "").unwrap();
        folder.append("orders", text);
    };
    let replaced: Change = |folder, text| {
        folder.append("new", text);
        fs::rename(folder.path("new"), folder.path("orders")).unwrap();
    };
    let deleted: Change = |folder, text| {
        fs::remove_file(folder.path("orders")).unwrap();
        folder.append("orders", text);
    };
    for (name, change) in [("emptied", emptied), ("replaced", replaced), ("deleted", deleted)] {
        for restarted in [false, true] {
            for second in ["x\n", "second1\nlonger second2\nsecond3\nand fourth\n"] {
                let mut folder = Folder::roomy();
                folder.append("orders", "first1\nfirst2\n{unfinished");
                assert_eq!(folder.orders(), ["first1", "first2"]);
                if restarted {
                    folder.close();
                }
                change(&folder, second);
                if restarted {
                    folder.restart();
                }
                let (mut found, mut positions) = (String::new(), Vec::new());
                folder.poll(9, |position, payload| {
                    found += std::str::from_utf8(payload).unwrap();
                    found += "\n";
                    positions.push((position.partition, position.offset));
                    Taken::Done
                });
                assert_eq!(found, second, "{name}, restarted: {restarted}");
                assert_eq!(positions[0], (1, 0), "not to be taken for the first of the other file");
                assert_eq!(folder.orders(), [""; 0]);
            }
        }
    }
}

#[test]
fn an_orders_file_with_more_in_it_may_take_the_place_of_one() {
    for restarted in [false, true] {
        let mut folder = Folder::roomy();
        folder.append("orders", "first1\nfirst2\n");
        assert_eq!(folder.orders().len(), 2);
        if restarted {
            folder.close();
        }
        folder.append("new", "first1\nfirst2\nfirst3\n");
        fs::rename(folder.path("new"), folder.path("orders")).unwrap();
        if restarted {
            folder.restart();
        }
        assert_eq!(folder.orders(), ["first3"]);
    }
}

#[test]
fn what_a_replaced_orders_file_still_held_is_read_first() {
    let mut folder = Folder::roomy();
    folder.append("orders", "1\n2\n3\n4\n");
    folder.poll(1, |_, _| Taken::Done);
    folder.append("orders", "5\n");
    folder.append("new", "6\n");
    fs::rename(folder.path("new"), folder.path("orders")).unwrap();
    let found: Vec<_> = (0..5).flat_map(|_| folder.orders()).collect();
    assert_eq!(found, ["2", "3", "4", "5", "6"]);
}

#[test]
fn a_position_that_cannot_be_read_loses_nothing() {
    let texts = ["", "twelve", "0 7", "0 7 zz", "0 99999999999999999999 0", "0 999999 00000000"].map(str::as_bytes);
    for garbage in texts.into_iter().chain([&b"\xff\xfe\x00"[..]]) {
        let mut folder = Folder::roomy();
        folder.append("orders", "first1\nfirst2\n");
        assert_eq!(folder.orders().len(), 2);
        folder.close();
        fs::write(folder.config.dir.join(".position"), garbage).unwrap();
        folder.restart();
        assert_eq!(folder.orders(), ["first1", "first2"], "{garbage:?}");
    }
}

#[test]
fn orders_are_appended_as_whole_lines_whoever_runs() {
    let mut folder = Folder::roomy();
    let (dir, topics) = (folder.config.dir.clone(), folder.topics.clone());
    append_orders(&dir, &topics, ["1", "2"]).unwrap();
    assert_eq!(folder.orders(), ["1", "2"]);
    folder.append("orders", "unfinished");
    append_orders(&dir, &topics, ["3"]).unwrap();
    assert_eq!(folder.orders(), ["unfinished", "3"]);
    append_orders(&dir, &topics, []).unwrap();
    assert_eq!(folder.orders(), [""; 0]);

    let elsewhere = dir.join("made/for/it");
    append_orders(&elsewhere, &topics, ["1"]).unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("orders.jsonl")).unwrap(), "1\n");
}
