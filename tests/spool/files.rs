//! Records out: whole lines in files that roll, within their bound, whatever happens to the disk.

use crate::folder::{Folder, MEMORY_BYTES, line, publish};
use crate::seeds::{Random, for_seeds};
use mokasim::bus::spool::{Spool, SpoolError};
use mokasim::bus::{Bus as _, Severity, Taken};
use mokasim::clock;
use mokasim::wire::TopicId;
use rand::RngExt as _;
use std::fs;
use std::time::Duration;

const EVENTS: TopicId = TopicId(2);

#[test]
fn records_become_lines_of_their_topic() {
    let mut folder = Folder::roomy();
    for n in 0..6 {
        publish(folder.spool(), TopicId(n as u16 % 4), n, 10).unwrap();
    }
    assert_eq!(folder.spool().status().outbox_records, 6);
    folder.poll(0, |_, _| Taken::Later);
    let status = folder.spool().status();
    assert_eq!((status.connected, status.outbox_records, status.acknowledged, status.errors), (true, 0, 6, 0));
    let outputs = folder.outputs();
    assert_eq!(outputs["telemetry.a.jsonl"], line(TopicId(0), 0, 10) + &line(TopicId(0), 4, 10));
    assert_eq!(outputs["telemetry.b.jsonl"], line(TopicId(1), 1, 10) + &line(TopicId(1), 5, 10));
    assert_eq!(outputs["events.jsonl"], line(EVENTS, 2, 10));
    assert_eq!(outputs["rejected.jsonl"], line(TopicId(3), 3, 10));
}

#[test]
fn what_one_poll_has_no_time_for_is_written_while_waiting() {
    let mut folder = Folder::roomy();
    for n in 0..3000 {
        publish(folder.spool(), if n % 2 == 0 { EVENTS } else { TopicId(0) }, n, 800).unwrap();
    }
    folder.poll(0, |_, _| Taken::Later);
    let left = folder.spool().status().outbox_records;
    assert!((1..3000).contains(&left), "{left}");
    for _ in 0..100 {
        let now = clock::now();
        folder.spool().wait(now, now + Duration::from_millis(10));
    }
    assert_eq!(folder.spool().status().acknowledged, 3000);
    assert_eq!(folder.outputs().values().map(|content| content.lines().count()).sum::<usize>(), 3000);
}

#[test]
fn files_do_not_depend_on_how_records_are_batched_or_on_crashes_between_polls() {
    for_seeds(8, |random| {
        let records: Vec<_> =
            (0..2000).map(|n| (TopicId(random.random_range(0..4)), n, random.random_range(0..400))).collect();
        let run = |random: &mut Random, polled_every: u64, crashes: bool| {
            let mut folder = Folder::new(1 << 30, 20_000);
            for &(topic, n, padding) in &records {
                publish(folder.spool(), topic, n, padding).unwrap();
                if n % polled_every == 0 {
                    folder.write();
                    if crashes && random.random_bool(0.1) {
                        folder.restart();
                    }
                }
            }
            folder.write();
            folder.close();
            folder.outputs()
        };
        let expected = run(random, 1, false);
        assert!(expected.len() > 20, "{} files", expected.len());
        assert!(expected.values().all(|content| content.len() < 20_000 + 600));
        for (polled_every, crashes) in [(7, true), (100, true), (2000, false)] {
            let found = run(random, polled_every, crashes);
            assert!(found == expected, "polled every {polled_every} records: {:?}", found.keys());
        }
    });
}

#[test]
fn the_files_stay_within_their_bound_and_the_oldest_telemetry_goes_first() {
    for_seeds(8, |random| {
        let (max_bytes, roll_bytes) = (200_000, 20_000);
        let mut folder = Folder::new(max_bytes, roll_bytes);
        let mut published = [String::new(), String::new(), String::new()];
        let mut dropped = 0;
        for n in 0..3000 {
            let topic = TopicId(if random.random_bool(0.05) { EVENTS.0 } else { random.random_range(0..2) });
            let padding = random.random_range(0..500);
            publish(folder.spool(), topic, n, padding).unwrap();
            published[usize::from(topic.0)] += &line(topic, n, padding);
            if random.random_bool(0.05) {
                folder.write();
                let bytes: usize = folder.outputs().values().map(String::len).sum();
                assert!(bytes as u64 <= max_bytes, "{bytes} bytes");
            }
            if random.random_bool(0.002) {
                folder.write();
                dropped += folder.spool().status().dropped;
                folder.restart();
            }
        }
        folder.write();
        let status = folder.spool().status();
        assert_eq!((status.connected, status.errors), (true, 0));

        let outputs = folder.outputs();
        let kept = ["telemetry.a", "telemetry.b", "events"].map(|topic| {
            let of_topic = outputs.iter().filter(|(name, _)| name.starts_with(topic));
            let (live, rolled): (Vec<_>, Vec<_>) = of_topic.partition(|(name, _)| **name == format!("{topic}.jsonl"));
            rolled.into_iter().chain(live).map(|(_, content)| content.as_str()).collect::<String>()
        });
        assert!(kept[2] == published[2], "an event is missing");
        assert!(published[0].ends_with(&kept[0]) && published[1].ends_with(&kept[1]), "newer telemetry went before older");
        let lines = |topics: &[String; 3]| topics.iter().map(|lines| lines.lines().count() as u64).sum::<u64>();
        assert_eq!(dropped + status.dropped, lines(&published) - lines(&kept));
        assert!(lines(&kept) > 300);
        let oldest_kept = [0, 1].map(|topic| number_in(kept[topic].lines().next().unwrap()));
        assert!(oldest_kept[0].abs_diff(oldest_kept[1]) < 300, "{oldest_kept:?}");
    });
}

/// The `n` of a record's line.
fn number_in(line: &str) -> u64 {
    let rest = &line[line.find(r#""n":"#).unwrap() + 4..];
    rest[..rest.find(',').unwrap()].parse().unwrap()
}

#[test]
fn events_that_fill_the_folder_wait_and_go_on_when_a_person_makes_room() {
    let mut folder = Folder::new(50_000, 10_000);
    let mut n = 0;
    while publish(folder.spool(), EVENTS, n, 500).is_ok() {
        n += 1;
        folder.poll(0, |_, _| Taken::Later);
    }
    let status = folder.spool().status();
    assert!(!status.connected && status.errors > 0 && status.dropped == 0, "{status:?}");
    assert!(!folder.spool().has_room());
    let outputs = folder.outputs();
    assert!(outputs.values().map(String::len).sum::<usize>() <= 50_000);

    let moved: Vec<_> =
        outputs.into_iter().filter(|(name, _)| name != "events.jsonl" && name.starts_with("events")).collect();
    let mut all = String::new();
    for (name, content) in moved {
        fs::remove_file(folder.config.dir.join(name)).unwrap();
        all += &content;
    }
    // The folder takes less than what waits: moved away again and again, it takes it all.
    for _ in 0..100_000 {
        folder.poll(0, |_, _| Taken::Later);
        if folder.spool().status().outbox_records == 0 {
            break;
        }
        for (name, content) in folder.outputs() {
            if name.starts_with("events.0") {
                fs::remove_file(folder.config.dir.join(name)).unwrap();
                all += &content;
            }
        }
    }
    for (name, content) in folder.outputs() {
        if name.starts_with("events.0") {
            all += &content;
        }
    }
    all += &folder.outputs()["events.jsonl"];
    let expected: String = (0..n).map(|n| line(EVENTS, n, 500)).collect();
    assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    assert!(folder.spool().status().connected && folder.spool().has_room());
}

#[test]
fn files_that_were_written_under_higher_bounds_make_room_under_lower_ones() {
    let mut folder = Folder::new(1 << 20, 1 << 19);
    for n in 0..900 {
        publish(folder.spool(), TopicId((n % 3) as u16), n, 300).unwrap();
    }
    folder.write();
    let before: usize = folder.outputs()["events.jsonl"].len();
    (folder.config.max_bytes, folder.config.roll_bytes) = (before as u64 + 20_000, 4_000);
    folder.restart();
    for n in 900..1000 {
        publish(folder.spool(), TopicId(0), n, 300).unwrap();
        folder.write();
    }
    let status = folder.spool().status();
    assert_eq!((status.connected, status.outbox_records, status.acknowledged), (true, 0, 100));
    let outputs = folder.outputs();
    assert!(outputs.values().map(String::len).sum::<usize>() as u64 <= folder.config.max_bytes);
    let events: String =
        outputs.iter().filter(|(name, _)| name.starts_with("events.")).map(|(_, content)| &**content).collect();
    assert_eq!(events.len(), before);
    let kept: usize =
        outputs.iter().filter(|(name, _)| name.starts_with("telemetry.")).map(|(_, content)| content.lines().count()).sum();
    assert_eq!(status.dropped + kept as u64, 700);
}

#[test]
fn a_folder_that_was_removed_is_held_again_unless_another_instance_was_first() {
    let mut folder = Folder::roomy();
    let dir = folder.config.dir.clone();
    let (config, topics) = (folder.config.clone(), folder.topics.clone());
    fs::remove_dir_all(&dir).unwrap();
    publish(folder.spool(), TopicId(0), 0, 10).unwrap();
    folder.write();
    let second = Spool::open(&config, &topics, MEMORY_BYTES);
    assert!(matches!(second, Err(SpoolError::InUse { .. })), "{second:?}");

    fs::remove_dir_all(&dir).unwrap();
    let second = Spool::open(&config, &topics, MEMORY_BYTES).unwrap();
    publish(folder.spool(), TopicId(0), 1, 10).unwrap();
    folder.poll(0, |_, _| Taken::Later);
    let trouble = folder.spool().status().trouble.unwrap();
    assert!(trouble.reason.contains("another instance is running on this folder"), "{trouble:?}");
    assert_eq!(folder.outputs()["telemetry.a.jsonl"], "");
    drop(second);
    folder.write();
    assert_eq!(folder.outputs()["telemetry.a.jsonl"], line(TopicId(0), 1, 10));
}

#[test]
fn a_full_disk_is_counted_and_loses_nothing_that_waits() {
    let mut folder = Folder::roomy();
    publish(folder.spool(), TopicId(0), 0, 10).unwrap();
    folder.write();
    let moved = folder.path("moved");
    fs::rename(folder.path("telemetry.a"), &moved).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path("telemetry.a")).unwrap();

    for n in 1..50 {
        publish(folder.spool(), TopicId(n as u16 % 3), n, 10).unwrap();
        folder.poll(0, |_, _| Taken::Later);
    }
    let status = folder.spool().status();
    assert_eq!((status.connected, status.outbox_records, status.acknowledged), (false, 47, 3));
    assert!((3..=6).contains(&status.errors), "{} errors in 5 s, tried once a second", status.errors);
    let trouble = status.trouble.unwrap();
    assert!(trouble.severity == Severity::Degraded && trouble.reason.contains("No space left on device"), "{trouble:?}");
    assert!(folder.spool().has_room());

    fs::remove_file(folder.path("telemetry.a")).unwrap();
    fs::rename(moved, folder.path("telemetry.a")).unwrap();
    folder.write();
    let status = folder.spool().status();
    assert_eq!((status.connected, status.outbox_records, status.acknowledged), (true, 0, 50));
    assert_eq!(status.trouble, None);
    let outputs = folder.outputs();
    for (topic, name) in ["telemetry.a.jsonl", "telemetry.b.jsonl", "events.jsonl"].into_iter().enumerate() {
        let expected: String =
            (0..50).filter(|n| n % 3 == topic as u64).map(|n| line(TopicId(topic as u16), n, 10)).collect();
        assert_eq!(outputs[name], expected);
    }
}

#[test]
fn a_disk_that_stays_full_drops_telemetry_and_refuses_events() {
    let mut folder = Folder::roomy();
    fs::remove_file(folder.path("events")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path("events")).unwrap();
    let mut events = 0;
    for n in 0.. {
        publish(folder.spool(), TopicId(0), n, 800).unwrap();
        if publish(folder.spool(), EVENTS, n, 800).is_err() {
            break;
        }
        events += 1;
        folder.poll(0, |_, _| Taken::Later);
        assert!(folder.spool().status().outbox_bytes <= MEMORY_BYTES as u64);
    }
    assert!(!folder.spool().has_room());
    for n in 0..4000 {
        publish(folder.spool(), TopicId(0), n, 800).unwrap();
    }
    let status = folder.spool().status();
    assert!(status.dropped > 0 && !status.connected, "{status:?}");

    fs::remove_file(folder.path("events")).unwrap();
    folder.write();
    let outputs = folder.outputs();
    assert!(outputs["events.jsonl"] == (0..events).map(|n| line(EVENTS, n, 800)).collect::<String>());
    assert_eq!(outputs["telemetry.a.jsonl"].lines().count() as u64 + status.dropped, events + 1 + 4000);
}

#[test]
fn an_unfinished_last_line_is_cut_off_at_start() {
    let whole = line(TopicId(0), 1, 100) + &line(TopicId(0), 2, 100);
    for tail in ["", "{", line(TopicId(0), 3, 50_000).trim_end()] {
        let mut folder = Folder::roomy();
        folder.append("telemetry.a", whole.clone() + tail);
        folder.append("events", tail);
        folder.restart();
        publish(folder.spool(), TopicId(0), 3, 10).unwrap();
        folder.write();
        let outputs = folder.outputs();
        assert_eq!(outputs["telemetry.a.jsonl"], whole.clone() + &line(TopicId(0), 3, 10));
        assert_eq!(outputs["events.jsonl"], "");
    }
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let mut folder = Folder::roomy();
    for n in 0..3 {
        publish(folder.spool(), TopicId(0), n, 10).unwrap();
        folder.write();
        fs::rename(folder.path("telemetry.a"), folder.path(&format!("moved{n}"))).unwrap();
    }
    for n in 0..3 {
        assert_eq!(fs::read_to_string(folder.path(&format!("moved{n}"))).unwrap(), line(TopicId(0), n, 10));
    }
}
