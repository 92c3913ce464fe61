//! Whether records are what `wire.md` promises: fields and their order, ranges, agreement of values, no gap, no loss, no double.

#![allow(dead_code, reason = "each test file uses its part of it")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const COMMON: [&str; 8] = [
    "codice_lotto",
    "luogo",
    "timestamp_locale",
    "timestamp_utc",
    "blocco_macchina",
    "motivo_blocco",
    "ultima_manutenzione",
    "macchina",
];

/// Stage, its label and its own fields.
const STAGES: [(&str, &str, &[&str]); 4] = [
    ("fresa_cnc", "Fresa CNC", &["tempo_ciclo", "profondita_taglio", "vibrazione", "allarmi_utente"]),
    (
        "tornio",
        "Tornio automatico",
        &["stato_macchina", "velocita_rotazione", "temperatura_mandrino", "numero_pezzi_completati"],
    ),
    ("assemblaggio", "Linea assemblaggio", &["tempo_medio_stazione", "numero_operatori", "anomalie_rilevate"]),
    ("test", "Linea di test", &["esiti_test_funzionali", "pressione_caldaia", "temperatura_caldaia", "consumo_energetico"]),
];

const ZONES: [(&str, &[&str]); 3] = [("Italia", &["+01:00", "+02:00"]), ("Brasile", &["-03:00"]), ("Vietnam", &["+07:00"])];

const REASONS: [&str; 4] = ["Manutenzione urgente", "Guasto componente", "Controllo qualità", "Cambio utensile"];

/// A record as it was read, whichever way: the value is the record's JSON.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) timestamp: i64,
    /// Empty where the client carries none.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) value: Value,
}

impl Read {
    /// From a line of a spool.
    pub(crate) fn from_spool(line: &Value) -> Self {
        let headers = line["headers"].as_object().unwrap().iter();
        Self {
            key: line["key"].as_str().unwrap().to_owned(),
            timestamp: line["timestamp"].as_i64().unwrap(),
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
            value: line["value"].clone(),
        }
    }
}

/// Checks the telemetry of a stage of the shipped plan; `quantities` has the quantity of each lot.
pub(crate) fn telemetry(stage: &str, records: &[Read], quantities: &BTreeMap<String, u64>) {
    let (_, label, own) = STAGES.iter().find(|(name, ..)| *name == stage).unwrap();
    let expected: Vec<&str> = COMMON.iter().chain(own.iter()).copied().collect();
    let mut seqs: BTreeMap<&str, u64> = BTreeMap::new();
    let mut pieces: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        let value = &record.value;
        let context = || format!("{record:?}");
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), expected, "{}", context());
        assert_eq!(value["macchina"], **label);
        let lot = value["codice_lotto"].as_str().unwrap();
        let site = value["luogo"].as_str().unwrap();
        assert_eq!(record.key.split('-').nth(1), Some(site), "{}", context());
        times(record, site);
        let blocked = value["blocco_macchina"].as_bool().unwrap();
        match value["motivo_blocco"].as_str() {
            Some(reason) => assert!(blocked && REASONS.contains(&reason), "{}", context()),
            None => assert!(!blocked, "{}", context()),
        }
        if let Some(seq) = record.headers.get("seq") {
            let last = seqs.entry(&record.key).or_default();
            assert_eq!(seq.parse::<u64>().unwrap(), *last + 1, "gap of machine {}", record.key);
            *last += 1;
            assert_eq!(record.headers["machine_id"], record.key);
            assert_eq!(record.headers["run_id"].len(), 8);
        }
        let number = |field: &str| value[field].as_f64().unwrap_or_else(|| panic!("{field}: {}", context()));
        let within = |field: &str, min: f64, max: f64| {
            assert!((min..=max).contains(&number(field)), "{field} out of range: {}", context());
        };
        match stage {
            "fresa_cnc" => {
                assert!(number("tempo_ciclo") > 0.0 || value["tempo_ciclo"] == 0.0);
                within("profondita_taglio", 0.1, 5.0);
                within("vibrazione", 0.05, 1.5);
                match value["allarmi_utente"].as_str().unwrap() {
                    "Nessuno" => {}
                    "Utensile usurato" | "Rottura utensile" => assert!(number("vibrazione") > 1.0, "{}", context()),
                    other => panic!("{other}"),
                }
            }
            "tornio" => {
                within("temperatura_mandrino", 20.0, 80.0);
                let state = value["stato_macchina"].as_str().unwrap();
                if blocked {
                    assert_eq!(number("velocita_rotazione"), 0.0);
                    assert!(["Manutenzione", "Guasto"].contains(&state), "{}", context());
                } else {
                    within("velocita_rotazione", 500.0, 3000.0);
                    assert_eq!(state, "Operativa");
                }
                let done = value["numero_pezzi_completati"].as_u64().unwrap();
                let last = pieces.entry(lot).or_default();
                assert!(done >= *last && done <= quantities[lot], "{}", context());
                *last = done;
            }
            "assemblaggio" => {
                within("tempo_medio_stazione", 30.0, 120.0);
                within("numero_operatori", 2.0, 8.0);
                assert!(value["anomalie_rilevate"].as_array().unwrap().iter().all(Value::is_string));
            }
            _ => {
                within("pressione_caldaia", 8.0, 15.0);
                within("temperatura_caldaia", 85.0, 95.0);
                within("consumo_energetico", 1.5, 3.5);
                let results = value["esiti_test_funzionali"].as_object().unwrap();
                let names: Vec<_> = results.keys().map(String::as_str).collect();
                assert_eq!(names, ["pressione", "temperatura", "portata", "rumore", "vibrazione"]);
                for (test, reading, min, max) in
                    [("pressione", "pressione_caldaia", 8.0, 15.0), ("temperatura", "temperatura_caldaia", 85.0, 95.0)]
                {
                    let level = (number(reading) - min) / (max - min);
                    let inner = (0.1 - 1e-9..=0.9 + 1e-9).contains(&level);
                    assert_eq!(results[test].as_bool().unwrap(), inner, "{test} disagrees with its reading: {}", context());
                }
            }
        }
    }
}

/// Both time stamps say the record's instant, the local one in the site's own zone.
fn times(record: &Read, site: &str) {
    let utc = record.value["timestamp_utc"].as_str().unwrap();
    let local = record.value["timestamp_locale"].as_str().unwrap();
    let instant = |text| mokasim::wire::parse_rfc3339(text).unwrap().0;
    assert!(utc.ends_with('Z'));
    assert_eq!(instant(utc), record.timestamp.div_euclid(1000) * 1000, "{record:?}");
    assert_eq!(instant(local), instant(utc), "{record:?}");
    let (_, offsets) = ZONES.iter().find(|(name, _)| *name == site).unwrap();
    assert!(offsets.iter().any(|offset| local.ends_with(offset)), "{record:?}");
}

/// What the events of a run amount to.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Quantity of each lot that was received.
    pub(crate) quantities: BTreeMap<String, u64>,
    pub(crate) completed: BTreeSet<String>,
    /// Lots in the order in which they started the first stage, by site.
    pub(crate) started: BTreeMap<String, Vec<String>>,
}

/// Reads the events of a run: each lot is received once, walks the stages in their order on machines of its own site, and is
/// completed at most once.
pub(crate) fn events(records: &[Read]) -> Ledger {
    let mut ledger = Ledger::default();
    let mut sites: BTreeMap<String, String> = BTreeMap::new();
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    let path: Vec<String> =
        STAGES.iter().flat_map(|(stage, ..)| [format!("{stage}.started"), format!("{stage}.completed")]).collect();
    for record in records {
        let value = &record.value;
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["event_type", "data", "timestamp"]);
        let kind = value["event_type"].as_str().unwrap();
        let data = &value["data"];
        let lot = data["codice_lotto"].as_str().unwrap().to_owned();
        assert_eq!(data["timestamp"], value["timestamp"]);
        match kind {
            "lot.received" => {
                let site = data["location"].as_str().unwrap().to_owned();
                assert!(sites.insert(lot.clone(), site).is_none(), "{lot} received twice");
                ledger.quantities.insert(lot, data["quantita"].as_u64().unwrap());
            }
            "lot.completed" => {
                assert_eq!(steps[&lot], path.len(), "{lot} completed before its last stage");
                assert!(ledger.completed.insert(lot.clone()), "{lot} completed twice");
            }
            "machine.blocked" | "machine.unblocked" => {
                assert_eq!(record.key, data["machine_id"].as_str().unwrap());
            }
            step => {
                assert_eq!(record.key, lot);
                let at = steps.entry(lot.clone()).or_default();
                assert_eq!(step, path[*at], "{lot} out of step");
                *at += 1;
                let site = &sites[&lot];
                assert_eq!(
                    data["machine_id"].as_str().unwrap().split('-').nth(1),
                    Some(site.as_str()),
                    "{lot} left its site"
                );
                if *at == 1 {
                    ledger.started.entry(site.clone()).or_default().push(lot);
                }
            }
        }
    }
    ledger
}
