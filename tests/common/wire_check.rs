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

const ANOMALIES: [&str; 4] = ["Componente mancante", "Disallineamento", "Tempo ciclo eccessivo", "Qualità insufficiente"];

/// A record as it was read, whichever way: the value is the record's JSON.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: String,
    /// The simulated instant; `None` where the client carries none.
    pub(crate) timestamp: Option<i64>,
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
            timestamp: Some(line["timestamp"].as_i64().unwrap()),
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
            value: line["value"].clone(),
        }
    }
}

/// Checks the telemetry of a stage of the shipped plan, of lots whose events are in `ledger`.
///
/// Each record agrees with the events about its lot, and no machine's `seq` has a gap within a run.
pub(crate) fn telemetry(stage: &str, records: &[Read], ledger: &Ledger) {
    let (_, label, own) = STAGES.iter().find(|(name, ..)| *name == stage).unwrap();
    let expected: Vec<&str> = COMMON.iter().chain(own.iter()).copied().collect();
    let mut seqs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut pieces: BTreeMap<&str, u64> = BTreeMap::new();
    let mut records_of: BTreeMap<&str, u32> = BTreeMap::new();
    for record in records {
        let value = &record.value;
        let context = || format!("{record:?}");
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), expected, "{}", context());
        assert_eq!(value["macchina"], **label);
        let code = value["codice_lotto"].as_str().unwrap();
        let lot = ledger.lots.get(code).unwrap_or_else(|| panic!("never received: {}", context()));
        *records_of.entry(code).or_default() += 1;
        let site = value["luogo"].as_str().unwrap();
        assert_eq!(site, lot.site, "{}", context());
        assert_eq!(machine_site(&record.key), site, "{}", context());
        times(record, site);
        let blocked = value["blocco_macchina"].as_bool().unwrap();
        match value["motivo_blocco"].as_str() {
            Some(reason) => assert!(blocked && REASONS.contains(&reason), "{}", context()),
            None => assert!(!blocked && value["motivo_blocco"].is_null(), "{}", context()),
        }
        if let Some(run_id) = run_id(record) {
            assert_eq!(record.headers["machine_id"], record.key);
            let last = seqs.entry((run_id, &record.key)).or_default();
            assert_eq!(record.headers["seq"].parse::<u64>().unwrap(), *last + 1, "gap of machine {}", record.key);
            *last += 1;
        }
        match stage {
            "fresa_cnc" => mill(record),
            "tornio" => {
                lathe(record);
                let done = value["numero_pezzi_completati"].as_u64().unwrap();
                let last = pieces.entry(code).or_default();
                assert!(done >= *last && done <= lot.quantity, "{}", context());
                *last = done;
            }
            "assemblaggio" => assembly(record),
            _ => test_bench(record),
        }
    }
    for code in &ledger.completed {
        let records = records_of.get(code.as_str()).copied().unwrap_or_default();
        assert!(records >= 2, "{code} has {records} records of {stage}: one at its start and one at its end are missing");
    }
}

fn mill(record: &Read) {
    assert!(number(record, "tempo_ciclo") >= 0.0);
    within(record, "profondita_taglio", 0.1, 5.0);
    within(record, "vibrazione", 0.05, 1.5);
    match record.value["allarmi_utente"].as_str().unwrap() {
        "Nessuno" => {}
        "Utensile usurato" | "Rottura utensile" => assert!(number(record, "vibrazione") > 1.0, "{record:?}"),
        other => panic!("{other}"),
    }
}

fn lathe(record: &Read) {
    within(record, "temperatura_mandrino", 20.0, 80.0);
    let state = record.value["stato_macchina"].as_str().unwrap();
    if record.value["blocco_macchina"] == true {
        assert_eq!(number(record, "velocita_rotazione"), 0.0);
        assert!(["Manutenzione", "Guasto"].contains(&state), "{record:?}");
    } else {
        within(record, "velocita_rotazione", 500.0, 3000.0);
        assert_eq!(state, "Operativa");
    }
}

fn assembly(record: &Read) {
    within(record, "tempo_medio_stazione", 30.0, 120.0);
    within(record, "numero_operatori", 2.0, 8.0);
    let anomalies = record.value["anomalie_rilevate"].as_array().unwrap();
    assert!(anomalies.iter().all(|anomaly| ANOMALIES.contains(&anomaly.as_str().unwrap())), "{record:?}");
}

fn test_bench(record: &Read) {
    within(record, "pressione_caldaia", 8.0, 15.0);
    within(record, "temperatura_caldaia", 85.0, 95.0);
    within(record, "consumo_energetico", 1.5, 3.5);
    let results = record.value["esiti_test_funzionali"].as_object().unwrap();
    assert_eq!(
        keys(&record.value["esiti_test_funzionali"]),
        ["pressione", "temperatura", "portata", "rumore", "vibrazione"]
    );
    assert!(results.values().all(Value::is_boolean), "{record:?}");
    for (test, reading, min, max) in
        [("pressione", "pressione_caldaia", 8.0, 15.0), ("temperatura", "temperatura_caldaia", 85.0, 95.0)]
    {
        let level = (number(record, reading) - min) / (max - min);
        let inner = (0.1 - 1e-9..=0.9 + 1e-9).contains(&level);
        assert_eq!(results[test].as_bool().unwrap(), inner, "{test} disagrees with its reading: {record:?}");
    }
}

fn number(record: &Read, field: &str) -> f64 {
    record.value[field].as_f64().unwrap_or_else(|| panic!("{field}: {record:?}"))
}

fn within(record: &Read, field: &str, min: f64, max: f64) {
    assert!((min..=max).contains(&number(record, field)), "{field} out of range: {record:?}");
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The run that sent the record: 8 hexadecimal digits. `None` where the client carries no headers.
fn run_id(record: &Read) -> Option<&str> {
    let run_id = record.headers.get("run_id")?;
    assert!(run_id.len() == 8 && run_id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{record:?}");
    Some(run_id)
}

/// The site in a machine's id, `fresa_cnc-Italia-1`.
fn machine_site(id: &str) -> &str {
    let parts: Vec<&str> = id.split('-').collect();
    assert!(parts.len() == 3 && parts[2].parse::<u32>().unwrap() >= 1, "{id}");
    parts[1]
}

fn instant(text: &Value) -> i64 {
    let text = text.as_str().unwrap();
    mokasim::wire::parse_rfc3339(text).unwrap_or_else(|| panic!("no instant: {text}")).0
}

/// Says the record's instant in whole seconds of UTC.
fn is_instant_of(record: &Read, text: &Value) {
    assert!(text.as_str().unwrap().ends_with('Z'), "{record:?}");
    if let Some(timestamp) = record.timestamp {
        assert_eq!(instant(text), timestamp.div_euclid(1000) * 1000, "{record:?}");
    }
}

/// Both time stamps say the record's instant, the local one in the site's own zone.
fn times(record: &Read, site: &str) {
    let value = &record.value;
    is_instant_of(record, &value["timestamp_utc"]);
    assert_eq!(instant(&value["timestamp_locale"]), instant(&value["timestamp_utc"]), "{record:?}");
    let (_, offsets) = ZONES.iter().find(|(name, _)| *name == site).unwrap();
    let local = value["timestamp_locale"].as_str().unwrap();
    assert!(offsets.iter().any(|offset| local.ends_with(offset)), "{record:?}");
    assert!(value["ultima_manutenzione"].as_str().unwrap().ends_with('Z'), "{record:?}");
    assert!(instant(&value["ultima_manutenzione"]) <= instant(&value["timestamp_utc"]), "{record:?}");
}

/// A lot as its events tell it.
#[derive(Clone, Debug)]
pub(crate) struct Lot {
    pub(crate) quantity: u64,
    pub(crate) site: String,
    pub(crate) priority: String,
    /// Stages started and stages completed.
    steps: usize,
}

/// What the events of a run amount to.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Each lot that was received.
    pub(crate) lots: BTreeMap<String, Lot>,
    pub(crate) completed: BTreeSet<String>,
}

/// Fields of an event's data, between the first ones and `timestamp`.
fn data_fields(kind: &str) -> Vec<&str> {
    let fields: &[&str] = match kind {
        "lot.received" => &["codice_lotto", "cliente", "quantita", "location", "priorita"],
        "lot.completed" => &[
            "codice_lotto",
            "location",
            "quantita",
            "total_time_minutes",
            "queue_minutes",
            "fresa_cnc_minutes",
            "tornio_minutes",
            "assemblaggio_minutes",
            "test_minutes",
        ],
        "machine.blocked" => &["machine_id", "codice_lotto", "reason"],
        "machine.unblocked" => &["machine_id", "codice_lotto", "blocked_seconds"],
        _ if kind.ends_with(".started") => &["codice_lotto", "machine_id", "processing_time_seconds"],
        _ => &["codice_lotto", "machine_id", "duration_seconds"],
    };
    fields.iter().copied().chain(["timestamp"]).collect()
}

/// The steps of a lot: each stage is started and completed, in the plan's order.
fn path() -> Vec<String> {
    STAGES.iter().flat_map(|(stage, ..)| [format!("{stage}.started"), format!("{stage}.completed")]).collect()
}

/// Reads the events of a run, in order by key: each lot is received once, walks the stages in their order on machines of its
/// own site, and is completed at most once; each machine blocks and goes on in turn.
pub(crate) fn events(records: &[Read]) -> Ledger {
    let mut ledger = Ledger::default();
    // Where records do not tell their run, a lot does: no second run makes it.
    let mut blocked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let path = path();
    for record in records {
        let context = || format!("{record:?}");
        let value = &record.value;
        assert_eq!(keys(value), ["event_type", "data", "timestamp"], "{}", context());
        let kind = value["event_type"].as_str().unwrap();
        let data = &value["data"];
        assert_eq!(keys(data), data_fields(kind), "{}", context());
        let code = data["codice_lotto"].as_str().unwrap();
        assert_eq!(data["timestamp"], value["timestamp"]);
        is_instant_of(record, &value["timestamp"]);
        let run = run_id(record);
        if run.is_some() {
            let machine = record.headers.get("machine_id").map(String::as_str);
            assert_eq!(machine, data["machine_id"].as_str(), "{}", context());
        }
        if let Some(machine) = data["machine_id"].as_str().filter(|_| kind.starts_with("machine.")) {
            assert_eq!(record.key, machine);
            if kind == "machine.blocked" {
                assert!(REASONS.contains(&data["reason"].as_str().unwrap()), "{}", context());
                assert!(blocked.insert((run.unwrap_or(code), machine)), "blocked twice: {}", context());
            } else {
                assert!(data["blocked_seconds"].as_f64().unwrap() > 0.0, "{}", context());
                assert!(blocked.remove(&(run.unwrap_or(code), machine)), "was not blocked: {}", context());
            }
            continue;
        }
        assert_eq!(record.key, code);
        if kind == "lot.received" {
            assert!(["alta", "normale", "bassa"].contains(&data["priorita"].as_str().unwrap()), "{}", context());
            let lot = Lot {
                quantity: data["quantita"].as_u64().unwrap(),
                site: data["location"].as_str().unwrap().to_owned(),
                priority: data["priorita"].as_str().unwrap().to_owned(),
                steps: 0,
            };
            assert!(ledger.lots.insert(code.to_owned(), lot).is_none(), "{code} received twice");
            continue;
        }
        let lot = ledger.lots.get_mut(code).unwrap_or_else(|| panic!("never received: {}", context()));
        if kind == "lot.completed" {
            assert_eq!(lot.steps, path.len(), "{code} completed before its last stage");
            assert_eq!((data["quantita"].as_u64(), data["location"].as_str()), (Some(lot.quantity), Some(&*lot.site)));
            minutes_add_up(data);
            assert!(ledger.completed.insert(code.to_owned()), "{code} completed twice");
        } else {
            assert_eq!(kind, path[lot.steps], "{code} out of step");
            lot.steps += 1;
            assert_eq!(machine_site(data["machine_id"].as_str().unwrap()), lot.site, "{code} left its site");
        }
    }
    ledger
}

/// The time in queues and the time at each stage are the lot's time; each is rounded to a hundredth.
fn minutes_add_up(data: &Value) {
    let minutes = |field: String| data[&field].as_f64().unwrap();
    let stages: f64 = STAGES.iter().map(|(stage, ..)| minutes(format!("{stage}_minutes"))).sum();
    let difference = minutes("total_time_minutes".into()) - minutes("queue_minutes".into()) - stages;
    assert!(difference.abs() < 0.005 * 6.0 + 1e-9, "{data}");
}

/// Checks, by events in the order in which they happened, that each stage of each site takes the lot that has waited longest
/// among those of the highest priority. Returns how many lots overtook another one.
pub(crate) fn queues(records: &[Read]) -> usize {
    const RANKS: [&str; 3] = ["alta", "normale", "bassa"];
    let mut lots: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut queues: BTreeMap<(String, usize), Vec<(usize, String)>> = BTreeMap::new();
    let mut overtakings = 0;
    for record in records {
        let data = &record.value["data"];
        let kind = record.value["event_type"].as_str().unwrap();
        let code = data["codice_lotto"].as_str().unwrap().to_owned();
        let stage = STAGES.iter().position(|(name, ..)| kind.split('.').next() == Some(name));
        let enters = match (kind, stage) {
            ("lot.received", _) => {
                let rank = RANKS.iter().position(|name| data["priorita"] == **name).unwrap();
                lots.insert(code.clone(), (data["location"].as_str().unwrap().to_owned(), rank));
                0
            }
            (_, Some(stage)) if kind.ends_with(".completed") => stage + 1,
            (_, Some(stage)) => {
                let queue = queues.get_mut(&(lots[&code].0.clone(), stage)).unwrap();
                let first_rank = queue.iter().map(|(rank, _)| *rank).min().unwrap();
                let first = queue.iter().position(|(rank, _)| *rank == first_rank).unwrap();
                assert_eq!(queue.remove(first).1, code, "{kind} at {}: {queue:?} wait", lots[&code].0);
                overtakings += usize::from(first > 0);
                continue;
            }
            _ => continue,
        };
        let (site, rank) = lots[&code].clone();
        queues.entry((site, enters)).or_default().push((rank, code));
    }
    overtakings
}

/// Checks a record of the rejected topic and returns the field it names.
pub(crate) fn rejected(record: &Read) -> Option<&str> {
    let value = &record.value;
    assert_eq!(keys(value), ["reason", "field", "topic", "partition", "offset", "payload", "timestamp"], "{record:?}");
    assert_eq!(record.key, format!("{}-{}", value["partition"], value["offset"]));
    assert!(!value["reason"].as_str().unwrap().is_empty());
    assert!(value["payload"].as_str().unwrap().len() <= 4096, "{record:?}");
    is_instant_of(record, &value["timestamp"]);
    run_id(record);
    value["field"].as_str()
}
