//! What `mokasim check` prints of a configuration.

use crate::bus::kafka::security::Sasl;
use crate::config::{Config, Speed};

/// What the configuration amounts to: plants and machines, where orders come from and records go to.
#[must_use]
pub fn report(config: &Config) -> String {
    let mut report = machines(config);
    let topics = &config.kafka.topics;
    let simulation = &config.simulation;
    let speed = match simulation.speed {
        Speed::Times(times) => format!("{times}x"),
        Speed::Max => "as fast as the bus takes the records".to_owned(),
    };
    let seed = simulation.seed.map_or_else(|| "drawn at the start".to_owned(), |seed| seed.to_string());
    let memory = format!("up to {} of at most {}", mebibytes(config.memory_bytes()), mebibytes(config.memory_max_bytes));
    let lines = [
        ("Bus", bus(config)),
        ("Orders", topics.orders.clone()),
        ("Telemetry", topics.telemetry.join(", ")),
        ("Events", topics.events.clone()),
        ("Rejected", topics.rejected.clone()),
        ("API", api(config)),
        ("Health", format!("{}:{}", config.health_check.bind, config.health_check.port)),
        ("Memory", memory),
        ("Speed", format!("{speed}, ticks of {} ms, seed {seed}", simulation.tick.as_millis())),
    ];
    report.push('\n');
    report.extend(lines.map(|(name, text)| format!("{name:<10} {text}\n")));
    report
}

fn bus(config: &Config) -> String {
    let servers = &config.kafka.bootstrap_servers;
    if servers.is_empty() {
        format!("spool in {}, at most {}", config.spool.dir.display(), mebibytes(config.spool.max_bytes))
    } else {
        let (kafka, security) = (&config.kafka, &config.kafka.security);
        let tls = security.tls.as_ref().map_or("", |_| ", by TLS");
        let user = |sasl: &Sasl| format!(", as {} by {}", sasl.username, sasl.mechanism.as_str());
        let user = security.sasl.as_ref().map(user).unwrap_or_default();
        format!("Kafka at {}{tls}{user}, group {}", servers.join(", "), kafka.group_id)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn api(config: &Config) -> String {
    let endpoint = config.api.endpoint.as_ref().filter(|_| config.api.enabled);
    endpoint.map_or_else(|| "off".to_owned(), ToString::to_string)
}

/// The machines of each plant and stage, with sums.
fn machines(config: &Config) -> String {
    let plan = &config.plan;
    let row = |name: &str, counts: &[u32]| {
        let total: u32 = counts.iter().sum();
        let counts = counts.iter().chain([&total]).map(ToString::to_string);
        [name.to_owned()].into_iter().chain(counts).collect::<Vec<_>>()
    };
    let labels = plan.stages.iter().map(|stage| &*stage.label);
    let mut rows = vec![["Location"].into_iter().chain(labels).chain(["Total"]).map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(plan.sites.iter().map(|site| row(&site.name, &site.machines)));
    let sum = |stage| plan.sites.iter().map(|site| site.machines[stage]).sum();
    rows.push(row("Total", &(0..plan.stages.len()).map(sum).collect::<Vec<_>>()));
    table(&rows)
}

/// The rows with their columns in line: the first to the left, the numbers to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let first = format!("{:<width$}", row[0], width = widths[0]);
        let rest = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        let line: String = [first].into_iter().chain(rest).collect();
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::config::{Overrides, Source, Speed, load};

    #[test]
    fn the_table_is_the_documentations() {
        let config = load(None, &|_| None, &Overrides::default()).unwrap();
        let memory_mib = config.memory_bytes().div_ceil(1 << 20);
        let expected = format!(
            "\
Location  Fresa CNC  Tornio automatico  Linea assemblaggio  Linea di test  Total
Italia            3                  2                   1              1      7
Brasile           2                  3                   2              1      8
Vietnam           4                  3                   2              2     11
Total             9                  8                   5              4     26

Bus        spool in data, at most 256 MiB
Orders     coffeemek.orders.new_lots
Telemetry  coffeemek.telemetry.fresa_cnc, coffeemek.telemetry.tornio, coffeemek.telemetry.assemblaggio, coffeemek.telemetry.test
Events     coffeemek.events.production_status
Rejected   coffeemek.orders.rejected
API        off
Health     127.0.0.1:8080
Memory     up to {memory_mib} MiB of at most 256 MiB
Speed      1x, ticks of 100 ms, seed drawn at the start
"
        );
        assert_eq!(report(&config), expected);
    }

    #[test]
    fn the_way_to_a_secured_broker_is_told_without_the_password() {
        let text = "
            kafka.bootstrap_servers = 'a:1'
            [kafka.security]
            security_protocol = 'SASL_SSL'
            sasl_mechanism = 'SCRAM-SHA-512'
            sasl_username = 'moka'
        ";
        let source = Source { name: "config.toml".into(), text: text.into() };
        let password = |name: &str| (name == "MOKAMETRICS_KAFKA_PASSWORD").then(|| "hunter2".to_owned());
        let report = report(&load(Some(&source), &password, &Overrides::default()).unwrap());
        let line = "Bus        Kafka at a:1, by TLS, as moka by SCRAM-SHA-512, group coffeemek-simulator";
        assert!(report.lines().any(|other| other == line), "{report}");
        assert!(!report.contains("hunter2"));
    }

    #[test]
    fn brokers_and_the_api_are_named_and_its_key_is_not() {
        let text = "kafka.bootstrap_servers = 'a:1,b:2'\n[api]\nenable_api = true\nendpoint_url = 'http://c:3'\napi_key = 'hunter2'";
        let source = Source { name: "config.toml".into(), text: text.into() };
        let flags = Overrides { speed: Some(Speed::Max), seed: Some(7), ..Overrides::default() };
        let report = report(&load(Some(&source), &|_| None, &flags).unwrap());
        for line in [
            "Bus        Kafka at a:1, b:2, group coffeemek-simulator",
            "API        http://c:3/api/telemetry",
            "Speed      as fast as the bus takes the records, ticks of 100 ms, seed 7",
        ] {
            assert!(report.lines().any(|other| other == line), "no {line:?} in\n{report}");
        }
        assert!(!report.contains("hunter2"));
    }
}
