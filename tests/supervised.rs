//! The program under a service manager, a scheduler or an administrator: the notify protocol, signals, the journal, the log, the
//! manual.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "common/program.rs"]
mod program;

use program::{Place, QUICK, Running, wait_for};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// The messages of systemd's notify protocol, until one is `last`.
fn notified(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|message| message != last) {
        let mut datagram = [0; 512];
        let length = socket.recv(&mut datagram).unwrap();
        messages.extend(std::str::from_utf8(&datagram[..length]).unwrap().lines().map(str::to_owned));
    }
    messages
}

#[test]
fn a_service_manager_hears_that_it_is_ready_that_it_ticks_and_that_it_leaves() {
    let place = Place::with_config(QUICK);
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = place.command(&["run", "--tick", "10"]);
    command.env("NOTIFY_SOCKET", place.path("notify")).env("WATCHDOG_USEC", "200000");
    let mut factory = place.launch_command(command);
    assert_eq!(notified(&socket, "READY=1"), ["READY=1"]);
    for _ in 0..3 {
        assert_eq!(notified(&socket, "WATCHDOG=1"), ["WATCHDOG=1"]);
    }
    // A process that is stopped as a hung one would be feeds no watchdog.
    factory.signal("STOP");
    socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut datagram = [0; 64];
    let fed_meanwhile = (0..20).take_while(|_| socket.recv(&mut datagram).is_ok()).count();
    assert!(fed_meanwhile < 10, "a stopped process fed the watchdog");
    factory.signal("CONT");
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    notified(&socket, "WATCHDOG=1");
    factory.signal("TERM");
    notified(&socket, "STOPPING=1");
    assert!(factory.wait().success());
}

fn wait_to_say(factory: &Running, text: &str) {
    wait_for(text, || factory.said().contains(text));
}

#[test]
fn a_hangup_opens_the_log_anew_takes_what_can_change_and_names_what_cannot() {
    let config = |interval: &str, own: &str| QUICK.replace("telemetry_interval = 1\n", interval) + own;
    let place = Place::with_config(&config("telemetry_interval = 1\nspeed = 1\n", ""));
    let factory = place.start(&["run", "--tick", "10"]);
    fs::rename(place.path("simulator.log"), place.path("moved.log")).unwrap();
    place.write("config.toml", &config("telemetry_interval = 0.5\nspeed = 2\n", "[kafka]\nbatch_size = 99\n"));
    factory.signal("HUP");
    wait_to_say(&factory, "kafka.batch_size has changed: it is taken at the next start only");
    wait_to_say(&factory, "simulation.telemetry_interval is now 0.5 s");
    wait_to_say(&factory, "simulation.speed is now 2");
    wait_for("the new speed to be shown", || factory.get("/metrics").1.contains("\nmokasim_speed 2.0\n"));
    assert!(fs::read_to_string(place.path("simulator.log")).unwrap().contains("the log is opened anew"));

    place.write("config.toml", "nonsense = 1\n");
    factory.signal("HUP");
    wait_to_say(&factory, "the configuration stays as it was: config.toml:1: nonsense");

    let own = "[log]\nlevel = \"warn\"\nterminal_level = \"warn\"\n[kafka]\nbatch_size = 98\n";
    let quiet = config("telemetry_interval = 0.5\nspeed = 2\n", own);
    place.write("config.toml", &quiet);
    let before = factory.said();
    factory.signal("HUP");
    wait_for("the rereading", || factory.said()[before.len()..].contains("kafka.batch_size has changed"));
    let after = factory.stop();
    assert!(!after[before.len()..].contains("[INFO]"), "{after}");
}

#[test]
fn a_hangup_names_what_has_changed_in_the_file_and_is_set_by_a_flag_or_variable() {
    let config = |n: u16| {
        format!(
            "[kafka]\nbootstrap_servers = \"a:{n}\"\nbatch_size = {n}\n[kafka.security]\nsecurity_protocol = \"SASL_SSL\"\n\
             sasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\nsasl_password_file = \"{n}\"\n\
             [api]\napi_key = \"{n}\"\nenable_api = {}\nendpoint_url = \"http://127.0.0.1:1\"\n[health_check]\nport = {n}\n\
             [simulation]\nspeed = {n}\nseed = {n}\ntick_ms = {n}\n[spool]\ndir = \"{n}\"\n\
             [log]\nlevel = \"{level}\"\nterminal_level = \"{level}\"\n",
            n == 2,
            level = if n == 2 { "debug" } else { "warn" },
        )
    };
    let place = Place::with_config(&config(1));
    let flags = ["run", "--data", "data", "--speed", "30", "--seed", "7", "--tick", "10", "--log-level", "info"];
    let mut command = place.command(&flags);
    let variables = mokasim::config::VARIABLES.map(|variable| variable.name);
    for variable in variables.into_iter().filter(|name| !["CONFIG_PATH", "HEALTH_CHECK_PORT"].contains(name)) {
        command.env(variable, if variable == "ENABLE_API" { "false" } else { "host:1" });
    }
    let factory = place.start_command(command);
    place.write("config.toml", &config(2));
    factory.signal("HUP");
    wait_to_say(&factory, "spool.dir has changed");
    let said = factory.stop();
    let changed: Vec<_> =
        said.lines().filter_map(|line| line.split_once("[WARN] ")?.1.split_once(" has changed: ")).collect();
    assert_eq!(changed.len(), 12, "{said}");
    for (key, what) in changed {
        let expected =
            if key == "kafka.batch_size" { "taken at the next start" } else { "a flag or an environment variable" };
        assert!(what.contains(expected), "{key}: {what}");
    }
}

#[test]
fn a_hangup_says_no_more_than_is_true_and_a_log_that_could_not_be_opened_is_opened_later() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run", "--tick", "10"]);
    fs::rename(place.path("simulator.log"), place.path("moved.log")).unwrap();
    fs::create_dir(place.path("simulator.log")).unwrap();
    factory.signal("HUP");
    wait_to_say(&factory, "the configuration is read again");
    let said = factory.said();
    assert!(said.contains("cannot open the log file") && !said.contains("the log is opened anew"), "{said}");
    fs::remove_dir(place.path("simulator.log")).unwrap();
    factory.signal("USR1");
    wait_for("the log", || fs::read_to_string(place.path("simulator.log")).is_ok_and(|text| text.contains("state: run ")));

    // The levels that are set stay set when a later file is refused.
    place.write("config.toml", &format!("{QUICK}[log]\nterminal_level = \"debug\"\n"));
    factory.signal("HUP");
    wait_to_say(&factory, "log.terminal_level is now debug");
    fs::remove_file(place.path("config.toml")).unwrap();
    factory.signal("HUP");
    wait_to_say(&factory, "the configuration stays as it was: config.toml: read at the start and missing now");
    let said = factory.stop();
    assert_eq!(said.matches("is now").count(), 1, "{said}");
}

/// What is in a folder.
fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_log_whose_name_is_a_link_is_made_and_rotated_where_the_link_leads() {
    let place = Place::with_config("[log]\nfile = \"link.log\"\nfile_max_bytes = 4096\nfiles_kept = 2\n");
    fs::create_dir(place.path("real")).unwrap();
    std::os::unix::fs::symlink("real/moka.log", place.path("link.log")).unwrap();
    place.run_ok(&["run", "--demo", "--speed", "max", "--duration", "1d"]);
    assert!(place.path("link.log").is_symlink());
    assert_eq!(names(&place.path("real")), ["moka.log", "moka.log.1", "moka.log.2"].map(str::to_owned).into());
    assert!(!place.path("link.log.1").exists());
}

#[test]
fn rotated_logs_beyond_those_that_are_kept_are_removed_at_the_start_and_nothing_else_is() {
    let place = Place::with_config("[log]\nfile = \"logs/moka.log\"\nfiles_kept = 2\n");
    fs::create_dir(place.path("logs")).unwrap();
    let ours = ["moka.log.1", "moka.log.2", "moka.log.3", "moka.log.5", "moka.log.1000"];
    let others = ["moka.log.20261127", "moka.log.4.gz", "moka.log.old", "moka.log-4", "other.log.4", "moka.4"];
    ours.iter().chain(&others).for_each(|name| place.write(&format!("logs/{name}"), ""));
    place.run_ok(&["run", "--demo", "--speed", "max", "--duration", "1m"]);
    let kept = ["moka.log", "moka.log.1", "moka.log.2"];
    assert_eq!(names(&place.path("logs")), kept.iter().chain(&others).map(|&name| name.to_owned()).collect());
}

#[test]
fn a_dump_of_the_state_goes_to_the_log() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run", "--demo", "--tick", "10"]);
    wait_for("work", || factory.health()["active_lots"] != 0);
    factory.signal("USR1");
    wait_to_say(&factory, "state: linea_test-Vietnam: ");
    let said = factory.stop();
    let dump: Vec<_> = said.lines().filter_map(|line| line.split_once("state: ")).map(|(_, state)| state).collect();
    assert!(
        dump[0].starts_with("run ")
            && dump[1].starts_with("status at ")
            && dump[2].starts_with("bus spool:data: connected true")
    );
    assert_eq!(dump.len(), 4 + 3 * 4, "{dump:?}");
}

#[test]
fn a_dump_that_was_asked_for_is_written_at_every_level() {
    for level in ["error", "warn", "debug"] {
        let place = Place::with_config(QUICK);
        let mut factory = place.launch(&["run", "--log-level", level, "--tick", "10"]);
        // It listens for signals before it makes its folder.
        wait_for("the folder", || place.path("data/.lock").exists());
        factory.signal("USR1");
        wait_to_say(&factory, "state: linea_test-Vietnam: ");
        factory.signal("TERM");
        assert!(factory.wait().success());
        let expected = if level == "debug" { "INFO" } else { &level.to_uppercase() };
        for text in [factory.said(), fs::read_to_string(place.path("simulator.log")).unwrap()] {
            let state: Vec<_> = text.lines().filter(|line| line.contains("state: ")).collect();
            assert!(state.len() > 10 && state.iter().all(|line| line.contains(&format!("[{expected}]"))), "{text}");
        }
    }
}

#[test]
fn the_journal_gets_levels_and_no_second_timestamp() {
    let place = Place::with_config(QUICK);
    place.append("data.orders", "{\"codice_lotto\":\"bad\"}\n");
    let output =
        place.run_ok(&["run", "--orders", "data.orders", "--until-idle", "--speed", "max", "--log-target", "journal"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().all(|line| line.starts_with("<6>") || line.starts_with("<4>")), "{stderr}");
    assert!(stderr.contains("<6>plants: Italia") && stderr.contains("<4>order at partition 0"), "{stderr}");
    assert!(!place.path("simulator.log").exists());
}

#[test]
fn a_scheduler_that_starts_it_again_is_told_nothing_at_its_level() {
    let place = Place::with_config(QUICK);
    let factory = place.start(&["run"]);
    let log = || fs::read_to_string(place.path("simulator.log")).unwrap_or_default();
    wait_for("the last line of the start", || log().contains("send more: "));
    let before = log();
    let again = place.run(&["run", "--log-target", "file", "--log-level", "warn"]);
    assert_eq!(again.status.code(), Some(75));
    assert!(again.stderr.is_empty() && again.stdout.is_empty());
    assert_eq!(log(), before);
    // On Kafka nothing is written to the folder, and two instances are kept apart all the same.
    let kafka = ["run", "--broker", "127.0.0.1:1", "--data", "kafka"];
    let first = place.start(&kafka);
    let second = place.run(&kafka);
    assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
    first.stop();
    factory.stop();
}

#[test]
fn on_kafka_a_folder_that_was_removed_is_held_again() {
    let place = Place::with_config(&QUICK.replace("telemetry_interval", "status_report_interval = 1\ntelemetry_interval"));
    let args = ["run", "--broker", "127.0.0.1:1", "--data", "kafka"];
    let first = place.start(&args);
    fs::remove_dir_all(place.path("kafka")).unwrap();
    wait_for("the folder", || place.path("kafka/.lock").exists());
    assert_eq!(place.run(&args).status.code(), Some(75));
    // Where another one is the first in it, the older says so, until that one is gone.
    first.signal("STOP");
    fs::remove_dir_all(place.path("kafka")).unwrap();
    let second = place.start(&args);
    first.signal("CONT");
    wait_to_say(&first, "another instance is running on this folder");
    second.stop();
    wait_to_say(&first, "kafka: held again");
    first.stop();
}

#[test]
fn the_manual_has_every_flag_key_variable_file_signal_and_exit_code() {
    let place = Place::new();
    let text = |args: &[&str]| String::from_utf8(place.run_ok(args).stdout).unwrap();
    let man = text(&["man"]).replace("\\-", "-").replace("\\&", "");
    let mut expected: BTreeSet<String> = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"].map(str::to_owned).into();
    for command in ["run", "send", "check", "health", "topics", "completions", "man"] {
        let help = text(&[command, "--help"]);
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        expected.extend(words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned));
        expected.insert(command.to_owned());
    }
    expected.extend(mokasim::config::VARIABLES.map(|variable| variable.name.to_owned()));
    expected.extend(mokasim::config::IN_FLIGHT.map(str::to_owned));
    expected.extend(mokasim::error::Exit::TABLE.map(|(exit, _)| format!("\\fB{}\\fR", exit as u8)));
    let keys = mokasim::config::BUILT_IN.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
    expected.extend(keys.map(|key| key.trim_start_matches("# ").trim().to_owned()));
    let missing: Vec<_> = expected.iter().filter(|word| !man.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_shell_gets_completions_of_every_flag() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = String::from_utf8(place.run_ok(&["completions", shell]).stdout).unwrap();
        assert!(text.contains("until-idle") && text.contains("log-target"), "{shell}");
        assert!(shell != "bash" || text.contains("off error warn info debug trace"), "values of --log-level");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_figures_that_there_are() {
    let place = Place::with_config("[api]\nenable_api = true\nendpoint_url = \"http://127.0.0.1:1\"\napi_key = \"k\"\n");
    let factory = place.start(&["run"]);
    wait_for("the lag", || factory.get("/metrics").1.contains("consumer_lag"));
    let (_, metrics) = factory.get("/metrics");
    let there: BTreeSet<_> = metrics.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let asked = [include_str!("../deploy/prometheus-alerts.yml"), include_str!("../deploy/grafana-dashboard.json")].concat();
    let asked = asked.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("mokasim_"));
    let asked: BTreeSet<_> = asked.collect();
    let missing: Vec<_> = asked.difference(&there).collect();
    assert!(asked.len() > 20 && missing.is_empty(), "{missing:?}");
    factory.stop();
}
