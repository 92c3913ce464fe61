//! What differs between two readings of the file.

use super::source::{BUILT_IN, Source};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Keys whose new values a running factory takes.
pub const IN_FLIGHT: [&str; 6] = [
    "health_check.requests_per_second",
    "log.level",
    "log.terminal_level",
    "simulation.speed",
    "simulation.status_report_interval",
    "simulation.telemetry_interval",
];

/// Groups that a file replaces as a whole.
const GROUPS: [&str; 4] = ["machines", "locations", "processing_times", "stages"];

/// Keys whose values differ between two readings, sorted; built-in values stand in for what a file does not name. Both files
/// were read without a problem.
#[must_use]
pub fn changed_keys(before: Option<&Source>, after: Option<&Source>) -> Vec<String> {
    let mut changed = Vec::new();
    compare("", &effective(before), &effective(after), &mut changed);
    changed
}

fn effective(source: Option<&Source>) -> Table {
    let parse = |text: &str| text.parse::<Table>().unwrap_or_default();
    let mut table = parse(BUILT_IN);
    lay_over(&mut table, source.map(|source| parse(&source.text)).unwrap_or_default());
    table
}

fn lay_over(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(own)) if !GROUPS.contains(&key.as_str()) => lay_over(table, own),
            (_, value) => _ = table.insert(key, value),
        }
    }
}

fn compare(path: &str, before: &Table, after: &Table, changed: &mut Vec<String>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => compare(&path, before, after, changed),
            (before, after) if before == after => {}
            _ => changed.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "config.toml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_key_is_named_once_its_value_differs() {
        let before = source("[simulation]\ntelemetry_interval = 10\n[kafka.topics]\ninput = \"a\"\n");
        let after = source(
            "[simulation]\ntelemetry_interval = 10\nspeed = 2\nblock_duration = { min = 1 }\n[kafka.topics]\ninput = \"b\"\n",
        );
        let changed = changed_keys(Some(&before), Some(&after));
        assert_eq!(changed, ["kafka.topics.input", "simulation.block_duration.min", "simulation.speed"]);
    }

    #[test]
    fn what_is_built_in_may_be_named_and_left_out() {
        assert!(changed_keys(None, Some(&source("[simulation]\ntelemetry_interval = 10\n"))).is_empty());
        assert_eq!(changed_keys(Some(&source("[log]\nlevel = \"warn\"\n")), None), ["log.level"]);
    }

    #[test]
    fn a_group_is_compared_as_a_whole() {
        let italy_alone = source("[locations.Italia]\ntimezone = \"Europe/Rome\"\n");
        assert_eq!(changed_keys(None, Some(&italy_alone)), ["locations.Brasile", "locations.Vietnam"]);
    }

    #[test]
    fn every_key_that_may_change_exists() {
        let table = effective(None);
        for path in IN_FLIGHT {
            let found =
                path.split('.').try_fold(&Value::Table(table.clone()).clone(), |value, key| value.get(key)).is_some();
            assert!(found, "{path}");
        }
    }
}
