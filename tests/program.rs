//! The whole program on the spool: what a person at a terminal, a script or the other end of a pipe sees of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wire_check.rs"]
mod wire_check;

use program::{Place, QUICK, Running, topic_files, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use wire_check::Read;

const EVENTS: &str = "coffeemek.events.production_status";
const REJECTED: &str = "coffeemek.orders.rejected";
const ORDERS: &str = "coffeemek.orders.new_lots";
const STAGES: [&str; 4] = ["fresa_cnc", "tornio", "assemblaggio", "test"];
const START: &str = "2026-06-01T08:00:00Z";

fn order(code: &str, site: &str, priority: &str, timestamp: &str) -> String {
    format!(
        "{{\"codice_lotto\":\"{code}\",\"cliente\":\"Bar Centrale\",\"quantita\":20,\"location\":\"{site}\",\
         \"priorita\":\"{priority}\",\"timestamp\":\"{timestamp}\"}}\n"
    )
}

/// Lots over all sites and priorities, some at the start and some a few seconds in, not in the order of their instants.
fn orders() -> String {
    let sites = ["Italia", "Brasile", "Vietnam"];
    let priorities = ["normale", "alta", "bassa"];
    (0..18)
        .map(|n| {
            let second = if n % 3 == 0 { 0 } else { (n * 7) % 5 };
            order(&format!("L-{n:02}"), sites[n % 3], priorities[n / 3 % 3], &format!("2026-06-01T08:00:0{second}Z"))
        })
        .collect()
}

/// Every file of a spool but the orders, with its bytes.
fn files(place: &Place, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(place.path(dir)).unwrap().map(|entry| entry.unwrap());
    let outputs = entries.filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.ends_with(".jsonl") && !name.starts_with(ORDERS)
    });
    outputs.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn read(place: &Place, dir: &str, topic: &str) -> Vec<Read> {
    place.topic(dir, topic).iter().map(Read::from_spool).collect()
}

/// Checks all that a spool holds and returns how many lots were completed.
fn check_spool(place: &Place, dir: &str) -> usize {
    let ledger = wire_check::events(&read(place, dir, EVENTS));
    for stage in STAGES {
        wire_check::telemetry(stage, &read(place, dir, &format!("coffeemek.telemetry.{stage}")), &ledger);
    }
    ledger.completed.len()
}

#[test]
fn the_same_seed_start_and_orders_give_the_same_bytes_at_every_tick_and_speed() {
    let place = Place::with_config(QUICK);
    place.write("orders.jsonl", &orders());
    let ways = [("max", "100"), ("max", "10"), ("600", "1000"), ("600", "10"), ("60", "100"), ("1", "1000"), ("1", "10")];
    let mut runs: Vec<(String, Running)> = ways
        .iter()
        .map(|(speed, tick)| {
            let dir = format!("{speed}-{tick}");
            let args = ["run", "--data", &dir, "--orders", "orders.jsonl", "--seed", "7", "--start", START, "--until-idle"];
            let run = place.launch(&[&args[..], &["--speed", speed, "--tick", tick]].concat());
            (dir, run)
        })
        .collect();
    for (dir, run) in &mut runs {
        let status = run.wait();
        assert!(status.success(), "{dir}: {status}: {}", run.said());
    }
    let expected = files(&place, "max-100");
    assert_eq!(check_spool(&place, "max-100"), 18);
    for (dir, _) in &runs {
        let found = files(&place, dir);
        for (name, bytes) in &expected {
            assert!(found[name] == *bytes, "{dir}/{name} differs");
        }
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn a_plant_played_alone_tells_the_story_it_tells_among_the_others() {
    let place = Place::with_config(QUICK);
    place.write("orders.jsonl", &orders());
    let run = |dir: &str, site: &[&str]| {
        let args = ["run", "--data", dir, "--orders", "orders.jsonl", "--seed", "7", "--start", START, "--speed", "max"];
        place.run_ok(&[&args[..], &["--until-idle"], site].concat());
        STAGES.map(|stage| place.topic(dir, &format!("coffeemek.telemetry.{stage}")))
    };
    let (all, alone) = (run("all", &[]), run("alone", &["--site", "Italia"]));
    assert_eq!(check_spool(&place, "alone"), 6);
    let run_ids = [&all, &alone].map(|run| run[0][0]["headers"]["run_id"].clone());
    assert_ne!(run_ids[0], run_ids[1], "another world is another run");
    for (all, alone) in all.into_iter().zip(alone) {
        let here = |line: &Value| line["value"]["luogo"] == "Italia";
        let without_run = |mut line: Value| {
            line["headers"]["run_id"].take();
            line
        };
        let expected: Vec<Value> = all.into_iter().filter(here).map(without_run).collect();
        assert_eq!(alone.into_iter().map(without_run).collect::<Vec<_>>(), expected);
    }
    assert!(place.topic("alone", REJECTED).is_empty());
}

#[test]
fn orders_for_plants_that_are_played_elsewhere_are_counted_and_left_alone() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run", "--site", "Brasile", "--speed", "600"]);
    assert!(factory.said().contains("plants: Brasile; 8 machines"), "{}", factory.said());
    place.append(&format!("data/{ORDERS}.jsonl"), &(orders() + &order("L-x", "Atlantide", "alta", START)));
    wait_for("the plant's own lots", || factory.health()["completed_lots"] == 6);
    let health = factory.health();
    assert_eq!((&health["elsewhere_orders"], &health["rejected_orders"]), (&12.into(), &1.into()));
    assert!(factory.get("/metrics").1.contains("\nmokasim_orders_elsewhere_total 12\n"));

    let unknown = place.run(&["run", "--site", "Italy"]);
    assert_eq!(unknown.status.code(), Some(78));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(said, "--site: Italy: expected one of Italia, Brasile, Vietnam: did you mean Italia?\n");
}

#[test]
fn a_month_of_history_loses_nothing_and_every_record_keeps_the_wires_promises() {
    let place = Place::with_config("[spool]\nmax_bytes = 4294967296\n[simulation]\ntelemetry_interval = 300\n");
    place.run_ok(&[
        "run",
        "--demo",
        "--speed",
        "max",
        "--seed",
        "3",
        "--start",
        START,
        "--duration",
        "30d",
        "--log-level",
        "warn",
    ]);
    let completed = check_spool(&place, "data");
    assert!(completed > 1_000, "{completed} lots in a month");
}

#[test]
fn orders_by_a_pipe_are_made_and_the_bad_ones_among_them_are_told() {
    let place = Place::with_config(QUICK);
    let args = ["run", "--orders", "-", "--speed", "max", "--until-idle", "--start", START];
    let mut child = place.command(&args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let good = order("L-1", "Italia", "alta", START);
    let spooled = format!(
        "{{\"key\":\"k\",\"timestamp\":1,\"headers\":{{}},\"value\":{}}}\n",
        order("L-2", "Vietnam", "bassa", START).trim()
    );
    let text = format!("{good}this is no order\n{spooled}\n{good}{}", order("L-3", "Atlantide", "alta", START));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(check_spool(&place, "data"), 2);
    let fields: Vec<_> = place.topic("data", REJECTED).iter().map(|line| line["value"]["field"].clone()).collect();
    assert_eq!(fields, [serde_json::Value::Null, "codice_lotto".into(), "location".into()]);
}

#[test]
fn a_line_echoed_into_the_orders_file_becomes_a_lot_once_it_is_whole() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run", "--speed", "600"]);
    let file = format!("data/{ORDERS}.jsonl");
    let half = order("L-2", "Brasile", "normale", START);
    place.append(&file, &order("L-1", "Italia", "alta", START));
    place.append(&file, &half[..20]);
    wait_for("the first lot", || factory.health()["completed_lots"] == 1);
    place.append(&file, &half[20..]);
    wait_for("the second lot", || factory.health()["completed_lots"] == 2);
    assert_eq!(factory.health()["rejected_orders"], 0);
    let said = factory.stop();
    assert!(said.contains("lot L-1 completed"), "{said}");
    assert!(said.contains("every record is acknowledged"), "{said}");
    assert_eq!(check_spool(&place, "data"), 2);
}

#[test]
fn a_killed_factory_leaves_whole_lines_and_its_successor_goes_on_with_the_orders() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run", "--speed", "600"]);
    place.run_ok(&["send", "--count", "30", "--seed", "5"]);
    wait_for("work to begin", || factory.health()["completed_lots"].as_u64() > Some(3));
    factory.signal("KILL");
    drop(factory);
    let successor = place.start(&["run", "--speed", "600"]);
    place.append(&format!("data/{ORDERS}.jsonl"), &order("L-new", "Italia", "alta", START));
    wait_for("the new lot", || {
        successor.health()["active_lots"] == 0 && successor.health()["completed_lots"].as_u64() > Some(0)
    });
    let said = successor.stop();
    assert!(said.contains("lot L-new completed"), "{said}");
    for topic in STAGES.map(|stage| format!("coffeemek.telemetry.{stage}")).iter().map(String::as_str).chain([EVENTS]) {
        for file in topic_files(&place.path("data"), topic) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.ends_with('\n') && text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            );
        }
    }
}

#[test]
fn what_cannot_start_says_why_in_one_line_and_by_its_exit_code() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run"]);
    let addr = factory.said().split("health at http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let port = addr.rsplit(':').next().unwrap().to_owned();
    place.write("bad.toml", "[simulation]\nmachine_block_probability = 7\ntelemetry_intervall = 3\n");
    let mut taken = place.command(&["run", "--data", "other"]);
    taken.env("HEALTH_CHECK_PORT", &port);
    let cases = [
        (place.command(&["run"]), 75, "data"),
        (taken, 69, port.as_str()),
        (place.command(&["run", "--speed", "fast"]), 64, "speed"),
        (place.command(&["run", "--seed", "x"]), 64, "expected a whole number from 0 to"),
        (place.command(&["run", "--log-level", "loud"]), 64, "off, error, warn, info, debug, trace"),
        (place.command(&["fly"]), 64, "fly"),
        (place.command(&["health", "--url", "foo"]), 64, "expected an address such as http://127.0.0.1:8080/health"),
        (place.command(&["health", "--url", ""]), 64, "expected an address such as"),
        (place.command(&["health", "--url", "ftp://x/"]), 64, "expected an address such as"),
        (place.command(&["health", "--url", "localhost:8080/health"]), 64, "expected an address such as"),
        (place.command(&["health", "--url", "http://"]), 64, "expected an address such as"),
        (place.command(&["run", "--config", "bad.toml"]), 78, "bad.toml:2: simulation.machine_block_probability = 7"),
        (place.command(&["run", "--config", "absent.toml"]), 78, "absent.toml"),
        (place.command(&["run", "--data", "third", "--orders", "absent.jsonl"]), 74, "absent.jsonl"),
        (place.command(&["run", "--data", "bad.toml"]), 74, "bad.toml: expected a folder; see --data and [spool] dir"),
        (place.command(&["run", "--data", "bad.toml", "--broker", "a:1"]), 74, "bad.toml: expected a folder"),
        (place.command(&["send", "--data", "bad.toml"]), 74, "bad.toml: expected a folder"),
        (place.command(&["check", "--config", "bad.toml"]), 78, "bad.toml:3: simulation.telemetry_intervall"),
    ];
    for (mut command, code, expected) in cases {
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
        assert!(stderr.contains(expected), "{command:?}: {stderr}");
        assert!(!stderr.contains('\u{1b}'), "colours without a terminal: {stderr}");
    }
    factory.stop();
}

#[test]
fn what_finds_no_thread_says_so_wherever_it_logs() {
    let place = Place::with_config(QUICK);
    for target in ["terminal", "file", "auto", "journal"] {
        let mut command = place.command(&["run", "--log-target", target]);
        // Threads whose stacks no address space holds.
        let output = command.env("RUST_MIN_STACK", (1_u64 << 60).to_string()).output().unwrap();
        assert_eq!(output.status.code(), Some(69), "{target}");
        let log = fs::read_to_string(place.path("simulator.log")).unwrap_or_default();
        let said = String::from_utf8(output.stderr).unwrap() + &log;
        let expected = if target == "auto" { 2 } else { 1 };
        assert_eq!(said.matches("cannot start the thread of /health: ").count(), expected, "{target}: {said}");
        let _none = fs::remove_file(place.path("simulator.log"));
    }
}

#[test]
fn a_position_that_does_not_fit_is_told_before_orders_are_made_again() {
    let place = Place::new();
    place.run_ok(&["run", "--speed", "max", "--duration", "1m"]);
    place.append(&format!("data/{ORDERS}.jsonl"), &order("L-1", "Italia", "normale", START));
    let run = || String::from_utf8(place.run_ok(&["run", "--speed", "max", "--duration", "1m"]).stderr).unwrap();
    let warnings = |said: &str| said.lines().filter(|line| line.contains("[WARN]")).map(str::to_owned).collect::<Vec<_>>();
    let first = run();
    assert!(warnings(&first).is_empty() && first.contains("lot L-1 received"), "{first}");
    let again = run();
    assert!(warnings(&again).is_empty() && !again.contains("lot L-1 received"), "{again}");
    let position = "data/.position";
    for (found, file, expected) in [
        ("", position, "found \"\""),
        ("a\0b", position, "found \"a\\0b\""),
        ("0 7 00000000\n", ORDERS, "not what was read so far; its orders are read from the beginning"),
    ] {
        place.write(position, found);
        let said = run();
        let [warning] = &warnings(&said)[..] else { panic!("{found:?}: {said}") };
        assert!(warning.contains(file) && warning.contains(expected), "{warning}");
        assert!(said.contains("lot L-1 received"), "{said}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let place = Place::new();
    for args in ["--help", "check", "man"] {
        let mut child = place.command(&[args]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args}");
    }
}

#[test]
fn orders_wait_at_the_gate_of_a_full_factory_at_every_speed() {
    let place = Place::with_config(&format!("{QUICK}[capacity]\nlots = 3\n"));
    let orders: String = (0..20).map(|n| order(&format!("L-{n:02}"), "Italia", "normale", START)).collect();
    place.write("orders.jsonl", &orders);
    let args = ["run", "--orders", "orders.jsonl", "--seed", "7", "--start", START, "--until-idle"];
    for (speed, dir) in [("max", "max"), ("600", "600")] {
        place.run_ok(&[&args[..], &["--speed", speed, "--data", dir]].concat());
        assert_eq!(check_spool(&place, dir), 20);
    }
    assert!(files(&place, "max") == files(&place, "600"));
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing() {
    let place = Place::with_config(QUICK);
    let args = ["run", "--demo", "6000", "--speed", "600", "--duration", "2h", "--log-level", "debug"];
    let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let unread = child.stderr.take();
    let mut status = None;
    wait_for("the end of the run", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    let log = fs::metadata(place.path("simulator.log")).unwrap().len();
    assert!(log > 200_000, "{log} bytes of log are no more than a pipe holds");
    drop(unread);
}

#[test]
fn a_fifth_stage_and_a_fourth_site_are_rows_of_the_file_alone() {
    let shipped = include_str!("../config.toml");
    let mut toml =
        shipped.replace("[locations.Italia]", "[locations.Kenya]\ntimezone = \"Africa/Nairobi\"\n\n[locations.Italia]");
    let machines = "linea_assemblaggio = 1\nlinea_test = 1\n";
    toml = toml.replace(
        "[machines.Italia]\n",
        &format!("[machines.Kenya]\nfresa_cnc = 1\ntornio = 1\n{machines}imballatrice = 2\n\n[machines.Italia]\n"),
    );
    for site in ["Italia", "Brasile", "Vietnam"] {
        toml = toml.replace(&format!("[machines.{site}]\n"), &format!("[machines.{site}]\nimballatrice = 1\n"));
    }
    toml.push_str(
        "\n[processing_times.imballaggio]\nmin = 60\nmax = 120\n\n[[stages]]\nname = \"imballaggio\"\nmachine = \"imballatrice\"\n\
         label = \"Imballatrice\"\ntopic = \"imballaggio\"\nblock_reasons = [{ reason = \"Nastro rotto\", maintenance = true }]\n\n\
         [[stages.signals]]\nname = \"nastro\"\nkind = \"number\"\nrange = { min = 0, max = 10 }\ndecimals = 1\nfollows = { wear = 0.5 }\n",
    );
    let place = Place::with_config(&toml);
    place.write("orders.jsonl", &order("L-1", "Kenya", "alta", START));
    place.run_ok(&["run", "--orders", "orders.jsonl", "--speed", "max", "--until-idle", "--start", START]);
    let events: Vec<_> =
        place.topic("data", EVENTS).iter().map(|line| line["value"]["event_type"].as_str().unwrap().to_owned()).collect();
    assert!(events.contains(&"imballaggio.completed".to_owned()), "{events:?}");
    assert_eq!(events.last().unwrap(), "lot.completed");
    let packed = place.topic("data", "coffeemek.telemetry.imballaggio");
    let first = &packed[0]["value"];
    assert_eq!((first["macchina"].as_str(), first["luogo"].as_str()), (Some("Imballatrice"), Some("Kenya")));
    assert!(first["timestamp_locale"].as_str().unwrap().ends_with("+03:00"));
    assert!((0.0..=10.0).contains(&first["nastro"].as_f64().unwrap()));
    let completed = place.topic("data", EVENTS).pop().unwrap()["value"]["data"].take();
    assert!(completed["imballaggio_minutes"].as_f64().unwrap() >= 1.0, "{completed}");
}

#[test]
fn a_probe_tells_a_healthy_factory_from_one_that_is_not_there() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run"]);
    let addr = factory.said().split("health at ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert!(place.run(&["health", "--url", &addr]).status.success());
    factory.stop();
    assert_eq!(place.run(&["health", "--url", &addr]).status.code(), Some(69));
}

#[test]
fn a_probe_needs_nothing_of_the_configuration_but_where_health_is() {
    let sasl =
        "[kafka.security]\nsecurity_protocol = \"SASL_PLAINTEXT\"\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"moka\"\n";
    let place = Place::with_config(&format!("{sasl}sasl_password_file = \"absent\"\n[health_check]\nport = 1\n"));
    assert_eq!(place.run(&["check"]).status.code(), Some(78));
    assert_eq!(place.run(&["health"]).status.code(), Some(69));
    place.write("config.toml", "[health_check]\nport = \"x\"\n");
    assert_eq!(place.run(&["health"]).status.code(), Some(78));
}

#[test]
fn the_command_that_is_shown_for_more_orders_names_the_configuration_that_was_given() {
    let place = Place::new();
    place.write("mine.toml", QUICK);
    let shown = |args: &[&str]| {
        let said = place.start(args).stop();
        said.lines().find_map(|line| line.split_once(" send --mode batch --count 5")).unwrap().1.to_owned()
    };
    assert_eq!(shown(&["run", "--config", "mine.toml"]), " --config mine.toml --data data");
    let broker = ["run", "--config", "mine.toml", "--broker", "127.0.0.1:1", "--data", "kafka"];
    assert_eq!(shown(&broker), " --config mine.toml --broker 127.0.0.1:1");
    assert_eq!(shown(&["run"]), " --data data");
}

#[test]
fn a_key_of_an_external_api_that_is_off_is_said_to_be_of_no_use() {
    let place = Place::new();
    let mut command = place.command(&["run", "--data", "d"]);
    command.env("MOKAMETRICS_API_KEY", "secret");
    let said = place.start_command(command).stop();
    assert!(said.contains("[WARN] a key for the external API is set, but nothing is sent there"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_data_folder_that_sets_a_configured_broker_aside_says_so() {
    let place = Place::with_config("kafka.bootstrap_servers = 'broker:9092'");
    let note =
        "--data alone means the spool in here: the configured broker broker:9092 is not used (--broker beside it uses both)";
    let sent = place.run_ok(&["send", "--count", "1", "--data", "here"]);
    assert_eq!(String::from_utf8(sent.stderr).unwrap(), format!("{note}\n"));
    let said = place.start(&["run", "--data", "here"]).stop();
    assert_eq!(said.matches(&format!("[WARN] {note}")).count(), 1, "{said}");

    let place = Place::with_config("");
    assert_eq!(String::from_utf8(place.run_ok(&["send", "--count", "1", "--data", "here"]).stderr).unwrap(), "");
}
