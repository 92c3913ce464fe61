//! What a file amounts to.

use crate::{load, load_with};
use mokasim::config::{self, BUILT_IN, Overrides, Source, Speed};
use mokasim::factory::plan::{Rule, SignalKind, Source as Follows};
use mokasim::units::Span;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn the_shipped_file_is_the_default() {
    let shipped = load(BUILT_IN).unwrap();
    let built_in = config::load(None, &|_| None, &Overrides::default()).unwrap();
    assert_eq!(format!("{built_in:#?}"), format!("{shipped:#?}"));
    assert_eq!(format!("{:#?}", load("").unwrap()), format!("{shipped:#?}"));
    assert_eq!(shipped.plan.machines_total(), 26);
    assert!(shipped.kafka.bootstrap_servers.is_empty(), "the spool is the default");
}

#[test]
fn the_documentations_file_loads_key_for_key() {
    let config = load(
        r#"
        [kafka]
        bootstrap_servers = "localhost:9093"
        [kafka.topics]
        input = "coffeemek.orders.new_lots"
        telemetry_prefix = "coffeemek.telemetry"
        events = "coffeemek.events.production_status"
        [api]
        endpoint_url = "https://api.example.org/"
        api_key = ""
        enable_api = false
        [health_check]
        port = 8080
        [machines.Italia]
        fresa_cnc = 3
        tornio = 2
        linea_assemblaggio = 1
        linea_test = 1
        [machines.Brasile]
        fresa_cnc = 2
        tornio = 3
        linea_assemblaggio = 2
        linea_test = 1
        [machines.Vietnam]
        fresa_cnc = 4
        tornio = 3
        linea_assemblaggio = 2
        linea_test = 2
        [processing_times.fresa_cnc]
        min = 1200
        max = 3600
        [processing_times.tornio]
        min = 900
        max = 2700
        [processing_times.assemblaggio]
        min = 1800
        max = 5400
        [processing_times.test]
        min = 600
        max = 1800
        [simulation]
        status_report_interval = 60
        machine_block_probability = 0.05
        priority_processing = true
        "#,
    )
    .unwrap();
    assert_eq!(config.kafka.bootstrap_servers, ["localhost:9093"]);
    assert_eq!(config.api.endpoint.unwrap(), "https://api.example.org/api/telemetry");
    assert_eq!(config.plan, load("").unwrap().plan, "the documentation's plants and times are the built-in ones");
}

#[test]
fn keys_fall_back_one_by_one_and_groups_as_a_whole() {
    let config = load(
        "
        [health_check]
        port = 9000
        [simulation]
        block_duration.max = 600
        [machines.Vietnam]
        fresa_cnc = 1
        tornio = 1
        linea_assemblaggio = 1
        linea_test = 1
        ",
    )
    .unwrap();
    assert_eq!((config.health_check.port, config.health_check.requests_per_second), (9000, 20));
    let block = config.plan.block_duration;
    assert_eq!((block.min, block.max), (Span::from_secs(120), Span::from_secs(600)));
    let sites: Vec<_> = config.plan.sites.iter().map(|site| (&*site.name, &*site.timezone)).collect();
    assert_eq!(sites, [("Vietnam", "Asia/Ho_Chi_Minh")], "the built-in locations may be left unused");
}

#[test]
fn a_fifth_stage_and_a_fourth_plant_are_rows_of_the_file() {
    let text = format!(
        r#"{}
        [[stages]]
        name = "imballaggio"
        machine = "imballatrice"
        label = "Imballatrice"
        topic = "imballaggio"
        block_reasons = [{{ reason = "Carta finita" }}]
        [[stages.signals]]
        name = "forza"
        kind = "number"
        range = {{ min = -1.5, max = 40 }}
        decimals = 3
        follows = {{ wear = 0.25, load = 0.5 }}
        when_blocked = 0
        [[stages.signals]]
        name = "esito"
        kind = "choice"
        signal = "forza"
        choices = [{{ value = "bene" }}, {{ value = "male", above = 0.8 }}, {{ value = "fermo", when = "blocked" }}]
        [processing_times.imballaggio]
        min = 60
        max = 90.5
        [machines."São Tomé"]
        fresa_cnc = 1
        tornio = 2
        linea_assemblaggio = 3
        linea_test = 4
        imballatrice = 5
        [locations."São Tomé"]
        timezone = "Africa/Sao_Tome"
        "#,
        BUILT_IN.replace("linea_test =", "imballatrice = 1\nlinea_test ="),
    );
    let config = load(&text).unwrap();
    let plan = &config.plan;
    let names: Vec<_> = plan.stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["fresa_cnc", "tornio", "assemblaggio", "test", "imballaggio"]);
    assert_eq!(config.kafka.topics.telemetry[4], "coffeemek.telemetry.imballaggio");
    let site = &plan.sites[3];
    assert_eq!((&*site.name, &*site.timezone), ("São Tomé", "Africa/Sao_Tome"));
    assert_eq!(site.machines, [1, 2, 3, 4, 5]);
    assert_eq!(plan.sites[0].machines, [3, 2, 1, 1, 1]);

    let stage = &plan.stages[4];
    assert_eq!((stage.duration.min, stage.duration.max), (Span(60_000), Span(90_500)));
    assert_eq!((&*stage.machine, &*stage.label, stage.block_reasons.len()), ("imballatrice", "Imballatrice", 1));
    let [force, outcome] = &stage.signals[..] else { panic!("{:?}", stage.signals) };
    let SignalKind::Number(level) = &force.kind else { panic!("{force:?}") };
    assert_eq!((level.range.min, level.range.max, level.decimals, level.when_blocked), (-1.5, 40.0, 3, Some(0.0)));
    assert_eq!(level.follows, [(Follows::Wear, 0.25), (Follows::Load, 0.5), (Follows::Noise, 0.25)]);
    let SignalKind::Choice(choices) = &outcome.kind else { panic!("{outcome:?}") };
    assert_eq!(choices.signal, Some(0));
    let rules: Vec<_> = choices.choices.iter().map(|choice| choice.rule).collect();
    assert_eq!(rules, [Rule::Otherwise, Rule::Above(0.8), Rule::Blocked]);
}

#[test]
fn flags_come_before_the_environment_and_it_before_the_file() {
    let text = "
        kafka.bootstrap_servers = 'file:1'
        health_check.port = 1
        api = { enable_api = false, api_key = 'file', endpoint_url = 'http://localhost:1' }
        simulation = { speed = 2, seed = 18446744073709551615, tick_ms = 10 }
        spool.dir = 'file'
        log = { level = 'warn', terminal_level = 'error' }
    ";
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", "environment:1, [::1]:2"),
        ("HEALTH_CHECK_PORT", "2"),
        ("ENABLE_API", "True"),
        ("MOKAMETRICS_API_KEY", "123"),
    ];
    let flags = Overrides {
        bootstrap_servers: vec![config::server("flag:1").unwrap()],
        data: Some("flag".into()),
        site: None,
        speed: Some(Speed::Max),
        seed: Some(7),
        tick: Some(config::tick("1000").unwrap()),
        log_level: Some(log::LevelFilter::Trace),
    };

    let file = load(text).unwrap();
    assert_eq!(file.kafka.bootstrap_servers, ["file:1"]);
    assert_eq!((file.health_check.port, file.api.enabled), (1, false));
    assert_eq!(file.api.key.unwrap(), "file");
    assert_eq!((file.simulation.speed, file.simulation.seed, file.plan.seed), (Speed::Times(2.0), Some(u64::MAX), u64::MAX));
    assert_eq!((file.simulation.tick, file.spool.dir), (Duration::from_millis(10), PathBuf::from("file")));
    assert_eq!((file.log.level, file.log.terminal_level), (log::LevelFilter::Warn, log::LevelFilter::Error));

    let environment = load_with(text, &variables, &Overrides::default()).unwrap();
    assert_eq!(environment.kafka.bootstrap_servers, ["environment:1", "[::1]:2"]);
    assert_eq!((environment.health_check.port, environment.api.enabled), (2, true));
    assert_eq!(environment.api.key.unwrap(), "123");

    let spool = Overrides { data: Some("flag".into()), ..Overrides::default() };
    let spool = load_with(text, &variables, &spool).unwrap();
    assert!(spool.kafka.bootstrap_servers.is_empty(), "a folder is asked for, and no broker");

    let flags = load_with(text, &variables, &flags).unwrap();
    assert_eq!(flags.kafka.bootstrap_servers, ["flag:1"]);
    assert_eq!((flags.simulation.speed, flags.simulation.seed, flags.plan.seed), (Speed::Max, Some(7), 7));
    assert_eq!((flags.simulation.tick, flags.spool.dir), (Duration::from_secs(1), PathBuf::from("flag")));
    assert_eq!((flags.log.level, flags.log.terminal_level), (log::LevelFilter::Trace, log::LevelFilter::Trace));

    let empty = variables.map(|(name, _)| (name, ""));
    let unset = load_with(text, &empty, &Overrides::default()).unwrap();
    assert_eq!(format!("{unset:?}"), format!("{:?}", load(text).unwrap()), "an empty variable is none");
}

#[test]
fn a_plant_played_alone_keeps_its_row_and_gets_a_group_of_its_own() {
    let flags = Overrides { site: Some("Vietnam".into()), ..Overrides::default() };
    let config = load_with("kafka.group_id = 'mine'", &[], &flags).unwrap();
    let machines: Vec<u32> = config.plan.sites.iter().map(|site| site.machines.iter().sum()).collect();
    assert_eq!(machines, [0, 0, 11]);
    assert_eq!(config.plan.played_sites().map(|site| &*site.name).collect::<Vec<_>>(), ["Vietnam"]);
    assert_eq!(config.kafka.group_id, "mine-Vietnam");
}

#[test]
fn speeds() {
    for (text, speed) in
        [("60", Speed::Times(60.0)), ("60x", Speed::Times(60.0)), ("0.5", Speed::Times(0.5)), ("max", Speed::Max)]
    {
        assert_eq!(text.parse(), Ok(speed));
        assert_eq!(load(&format!("simulation.speed = '{text}'")).unwrap().simulation.speed, speed);
    }
    for text in ["", "x", "0", "-1", "1e7", "nan", "inf", "60xx", "MAX"] {
        assert_eq!(text.parse::<Speed>(), Err("expected a number from 0.001 to 1000000, or \"max\"".to_owned()), "{text}");
    }
    assert_eq!(load("simulation.speed = 60").unwrap().simulation.speed, Speed::Times(60.0));
}

#[test]
fn ticks_and_servers_of_flags() {
    assert_eq!(config::tick("1"), Ok(Duration::from_millis(1)));
    for text in ["0", "1001", "1.5", ""] {
        assert_eq!(config::tick(text), Err("expected a whole number from 1 to 1000".to_owned()), "{text}");
    }
    for text in ["localhost:9092", "10.0.0.1:1", "[::1]:65535", "kafka_1.example-host.org:9092"] {
        assert_eq!(config::server(text).as_deref(), Ok(text));
    }
    for text in ["", "localhost", ":9092", "a:0", "a:65536", "a b:1", "::1:9092", "[x]:1", "http://a:1"] {
        assert_eq!(config::server(text), Err("expected HOST:PORT with a port from 1 to 65535".to_owned()), "{text}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let missing = Source::find(Some(&path)).err().unwrap().to_string();
    assert!(missing.starts_with(&format!("{}: cannot be read: ", path.display())), "{missing}");

    std::fs::write(&path, "[log]\n").unwrap();
    let source = Source::find(Some(&path)).unwrap().unwrap();
    assert_eq!((&*source.name, &*source.text), (path.to_str().unwrap(), "[log]\n"));

    std::fs::write(&path, b"\xff").unwrap();
    assert!(Source::find(Some(&path)).err().unwrap().to_string().contains("UTF-8"));
    assert!(Source::find(Some(Path::new("/dev/zero"))).is_err(), "a file without an end is not read to its end");
}
