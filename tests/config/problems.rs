//! The line that each mistake gets.

use crate::{load, load_with};
use mokasim::config::{BUILT_IN, Overrides};

#[track_caller]
pub(crate) fn assert_problems(text: &str, expected: &[&str]) {
    let problems = load(text).err().unwrap_or_default();
    assert_eq!(problems.join("\n"), expected.join("\n"));
}

/// Replaces each first text in the built-in file by the second, and expects one problem in its line.
#[track_caller]
pub(crate) fn assert_edits(edits: &[(&str, &str, &str)]) {
    for (from, to, expected) in edits {
        let line = BUILT_IN.split(from).next().map_or(0, |before| 1 + before.matches('\n').count());
        assert_problems(&BUILT_IN.replacen(from, to, 1), &[&format!("config.toml:{line}: {expected}")]);
    }
}

#[test]
fn a_bad_variable_is_a_problem() {
    let variables = [("HEALTH_CHECK_PORT", "http"), ("ENABLE_API", "yes"), ("KAFKA_BOOTSTRAP_SERVERS", "host")];
    let problems = load_with("log.level = 1", &variables, &Overrides::default()).unwrap_err();
    let expected = [
        "config.toml:1: log.level = 1: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        "environment: KAFKA_BOOTSTRAP_SERVERS = host: expected HOST:PORT with a port from 1 to 65535, several by comma, or \"\" for the spool",
        "environment: ENABLE_API = yes: expected true or false",
        "environment: HEALTH_CHECK_PORT = http: expected a whole number from 0 to 65535",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn the_api_needs_an_address() {
    let expected = "expected false, or an api.endpoint_url in the configuration file";
    assert_problems("[api]\nenable_api = true", &[&format!("config.toml:2: api.enable_api = true: {expected}")]);
    let by_variable = load_with("", &[("ENABLE_API", "true")], &Overrides::default()).unwrap_err();
    assert_eq!(by_variable, [format!("environment: ENABLE_API = true: {expected}")]);
}

#[test]
fn the_api_key_is_never_shown() {
    let texts = [
        "api.api_key = 'hunter2'",
        "api.api_key = ['hunter2']\n[api.x]",
        "api.api_kye = 'hunter2'",
        "api = 'hunter2'",
        "[api]\napi_key = 'hunter2' 5",
        "[api]\napi_key = 'hunter2",
        "api_key = 'hunter2'",
    ];
    for text in texts {
        let shown = format!("{:?}", load_with(text, &[("MOKAMETRICS_API_KEY", "hunter2")], &Overrides::default()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let expected = "expected printable characters only, as it is sent in an HTTP header";
    for key in ["5", r#""hunter2\n""#] {
        assert_problems(&format!("api.api_key = {key}"), &[&format!("config.toml:1: api.api_key: {expected}")]);
    }
}

#[test]
fn where_telemetry_cannot_be_posted_to_is_refused_and_not_quoted() {
    let urls = [
        "localhost",
        "ftp://x",
        "http://",
        "http://h:99999",
        "http:///path",
        "http://host/?a=b",
        "http://a b",
        "http://me:hunter2@host",
    ];
    let expected = "expected an http:// or https:// address without user, password and query, or \"\"";
    for url in urls {
        assert_problems(&format!("api.endpoint_url = {url:?}"), &[&format!("config.toml:1: api.endpoint_url: {expected}")]);
    }
}

#[test]
fn all_problems_are_reported_in_the_order_of_their_lines() {
    assert_problems(
        "[simulation]\nspeed = 0\ntick_ms = 0\n[log]\nlevel = 'loud'\n[kafka]\nlinger_ms = -1\ntopic.input = 'x'\n",
        &[
            "config.toml:2: simulation.speed = 0: expected a number from 0.001 to 1000000, or \"max\"",
            "config.toml:3: simulation.tick_ms = 0: expected a whole number from 1 to 1000",
            "config.toml:5: log.level = 'loud': expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
            "config.toml:7: kafka.linger_ms = -1: expected a whole number from 0 to 60000",
            "config.toml:8: kafka.topic: unknown key: did you mean topics?",
        ],
    );
}

#[test]
fn every_breach_of_the_syntax_has_its_line() {
    assert_problems(
        "[kafka\n[kafka]\na = 1\na = 2\nb = 'x\n",
        &[
            "config.toml:1: unclosed table, expected `]`",
            "config.toml:4: duplicate key",
            "config.toml:5: invalid literal string, expected `'`",
        ],
    );
}

#[test]
fn single_values() {
    for (text, expected) in [
        ("[simulation]\nmachine_block_probability = 1.7", "1.7: expected a number from 0 to 1"),
        ("[simulation]\nmachine_block_probability = nan", "nan: expected a number from 0 to 1"),
        ("[simulation]\npriority_processing = 1", "1: expected true or false"),
        ("[simulation]\ntelemetry_interval = 1e400", "1e400: expected a number from 0.1 to 86400"),
        ("[simulation]\nseed = -1", "-1: expected a whole number from 0 to 18446744073709551615"),
        ("[simulation]\nspeed = \"fast\"", "\"fast\": expected a number from 0.001 to 1000000, or \"max\""),
        ("[health_check]\nport = 0x10000", "0x10000: expected a whole number from 0 to 65535"),
        ("[health_check]\nbind = \"localhost\"", "\"localhost\": expected an IP address such as \"127.0.0.1\""),
        (
            "[kafka]\nbootstrap_servers = \"a:1,b:0\"",
            "\"a:1,b:0\": expected HOST:PORT with a port from 1 to 65535, several by comma, or \"\" for the spool",
        ),
        (
            "[kafka]\ncompression_type = \"rar\"",
            "\"rar\": expected one of \"none\", \"gzip\", \"snappy\", \"lz4\", \"zstd\"",
        ),
        (
            "[kafka.topics]\nevents = \"../../etc\"",
            "\"../../etc\": expected a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -",
        ),
        ("[kafka]\ngroup_id = '''\na\nb'''", "'''…: expected 1 to 100 characters, none of them a control character"),
    ] {
        let (section, rest) = text.split_once('\n').unwrap();
        let (key, _) = rest.split_once(" =").unwrap();
        assert_problems(text, &[&format!("config.toml:2: {}.{key} = {expected}", section.trim_matches(['[', ']']))]);
    }
}

#[test]
fn ranges() {
    assert_problems(
        "[simulation]\nblock_duration = { min = 1000 }",
        &["config.toml:2: simulation.block_duration.min = 1000: expected no more than max = 900"],
    );
    assert_edits(&[
        ("max = 3600", "max = 36", "processing_times.fresa_cnc.max = 36: expected no less than min = 1200"),
        (
            "max = 5.0",
            "max = 1e10",
            "stages[0].signals[1].range.max = 1e10: expected a number from -1000000000 to 1000000000",
        ),
    ]);
}

#[test]
fn tables_arrays_and_values_in_each_others_place() {
    assert_problems(
        "kafka = 5\nlog.level = {}\n[[api]]\n[machines]\nItalia = 3\n[locations]\nx = 1979-05-27\n",
        &[
            "config.toml:1: kafka: expected a table, found an integer",
            "config.toml:2: log.level = {}: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
            "config.toml:3: api: expected a table, found an array",
            "config.toml:5: machines.Italia: expected a table, found an integer",
            "config.toml:7: locations.x: expected a table, found a datetime",
        ],
    );
    assert_problems(
        "machines = []\nlocations = 1\nprocessing_times = ''\nstages = [[], {}]\n",
        &[
            "config.toml:1: machines: expected a table, found an array",
            "config.toml:2: locations: expected a table, found an integer",
            "config.toml:3: processing_times: expected a table, found a string",
            "config.toml:4: stages[0]: expected a table, found an array",
            "config.toml:4: stages[1]: name is missing: expected 1 to 100 characters, none of them a control character",
            "config.toml:4: stages[1]: machine is missing: expected 1 to 100 characters, none of them a control character",
            "config.toml:4: stages[1]: label is missing: expected 1 to 100 characters, none of them a control character",
            "config.toml:4: stages[1]: topic is missing: expected a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -",
        ],
    );
}

#[test]
fn plants() {
    assert_problems(
        "[locations.Italia]\ntimezone = 'Mars/Phobos'\n[locations.Peru]\ntimezone = 'America/Lima'\n",
        &[
            "config.toml:1: locations: [locations.Brasile] is missing: expected its timezone",
            "config.toml:1: locations: [locations.Vietnam] is missing: expected its timezone",
            "config.toml:2: locations.Italia.timezone = 'Mars/Phobos': \
             expected a name of the time-zone database such as \"Europe/Rome\"",
            "config.toml:3: locations.Peru: [machines.Peru] is missing: expected its machines",
        ],
    );
    assert_problems(
        "[machines.Italia]\nfresa_cnc = 0\ntornioo = 2\nlinea_assemblaggio = 1\nlinea_test = 1\n",
        &[
            "config.toml:1: machines.Italia: tornio is missing: expected 1 or more machines",
            "config.toml:2: machines.Italia.fresa_cnc = 0: expected a whole number from 1 to 1000000",
            "config.toml:3: machines.Italia.tornioo: no stage has such a machine: did you mean tornio?",
        ],
    );
}

#[test]
fn plants_whose_machines_would_share_ids() {
    let text = "
        [[stages]]
        name = 'a'
        machine = 'forno'
        label = 'A'
        topic = 'a'
        [[stages]]
        name = 'b'
        machine = 'forno-x'
        label = 'B'
        topic = 'b'
        [processing_times]
        a = { min = 1, max = 1 }
        b = { min = 1, max = 1 }
        [machines]
        y = { forno = 1, forno-x = 1 }
        x-y = { forno = 1, forno-x = 1 }
        [locations]
        x-y.timezone = 'Europe/Rome'
        y.timezone = 'Europe/Rome'
    ";
    let expected = "machines.x-y: expected another name, as another plant has a machine forno-x-y-1 too";
    assert_problems(text, &[&format!("config.toml:17: {expected}")]);
}

#[test]
fn too_many_machines() {
    let counts = "fresa_cnc = 1_000_000\ntornio = 1_000_000\nlinea_assemblaggio = 1_000_000\nlinea_test = 1_000_000\n";
    let text = ["Italia", "Brasile", "Vietnam"].map(|site| format!("[machines.{site}]\n{counts}")).concat();
    let text = text + "[capacity]\nmemory_max_bytes = 1_099_511_627_776\n";
    assert_problems(&text, &["config.toml:1: machines: expected at most 10000000 machines, found 12000000"]);
}

#[test]
fn times() {
    assert_problems(
        "[processing_times.tornio]\nmin = 1\nmax = 2\n[processing_times.tets]\nmin = 1\n",
        &[
            "config.toml:1: processing_times: [processing_times.fresa_cnc] is missing: expected min and max",
            "config.toml:1: processing_times: [processing_times.assemblaggio] is missing: expected min and max",
            "config.toml:1: processing_times: [processing_times.test] is missing: expected min and max",
            "config.toml:4: processing_times.tets: max is missing: expected a number from 0.001 to 31536000",
            "config.toml:4: processing_times.tets: no stage has this name: did you mean test?",
        ],
    );
}

#[test]
fn a_stage_needs_machines_and_a_time() {
    let text = "[[stages]]\nname = 'forno'\nmachine = 'forno'\nlabel = 'Forno'\ntopic = 'forno'\n";
    assert_problems(
        text,
        &[
            "config.toml:1: stages[0]: machines.Italia.forno is missing: expected 1 or more machines",
            "config.toml:1: stages[0]: machines.Brasile.forno is missing: expected 1 or more machines",
            "config.toml:1: stages[0]: machines.Vietnam.forno is missing: expected 1 or more machines",
            "config.toml:1: stages[0]: [processing_times.forno] is missing: expected min and max",
        ],
    );
}

#[test]
fn memory() {
    let text = "[capacity]\nmemory_max_bytes = 1_048_576\n[kafka]\nbuffer_bytes = 1_048_576\n";
    let problems = load(text).unwrap_err();
    let found = problems[0].strip_prefix("config.toml:2: capacity.memory_max_bytes = 1_048_576: expected ").unwrap();
    let (bytes, rest) = found.split_once(' ').unwrap();
    assert_eq!((problems.len(), rest), (1, "or more, which lots, codes, machines and buffer_bytes may take"));
    let enough = text.replace("memory_max_bytes = 1_048_576", &format!("memory_max_bytes = {bytes}"));
    let config = load(&enough).unwrap();
    assert_eq!((config.memory_bytes(), config.memory_max_bytes.to_string()), (config.memory_max_bytes, bytes.to_owned()));

    let by_default = load("capacity.lots = 10_000_000\n").unwrap_err();
    assert!(by_default[0].starts_with("built-in config.toml:"), "the bound is a default: {by_default:?}");
}

#[test]
fn a_spool_that_could_not_roll_its_files() {
    let text = "[spool]\nmax_bytes = 50_000_000\nroll_bytes = 10_000_000\n";
    assert_problems(
        text,
        &["config.toml:2: spool.max_bytes = 50_000_000: \
           expected 60000000 or more, which is roll_bytes for each of 6 topics"],
    );
    assert!(
        load(&format!("{text}[kafka]\nbootstrap_servers = 'localhost:9092'")).is_ok(),
        "with a broker there is no spool"
    );
}
