//! The contract of the wire: records out, to the byte; orders in, rule by rule. With `UPDATE_GOLDEN` set, the golden
//! records are written anew instead of compared.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "wire/orders.rs"]
mod orders;

use mokasim::config::{self, Config, Overrides};
use mokasim::factory::outputs::{Machine, Outputs, What};
use mokasim::factory::plan::{Plan, SignalKind};
use mokasim::units::{Priority, SimTime, SiteId, SlotId, Span, StageId};
use mokasim::wire::*;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

const RUN_ID: &str = "0badcafe";

fn plan() -> Plan {
    shipped().plan
}

fn topics() -> Topics {
    shipped().kafka.topics
}

fn shipped() -> Config {
    config::load(None, &|_| None, &Overrides::default()).unwrap()
}

fn at(text: &str) -> SimTime {
    parse_rfc3339(text).unwrap()
}

fn machine(stage: u16, site: u16, number: u32) -> Machine {
    Machine { slot: SlotId(0), site: SiteId(site), stage: StageId(stage), number }
}

fn encoder() -> Encoder {
    Encoder::new(&plan(), &topics(), RUN_ID).unwrap()
}

/// Encodes what `fill` puts out, as spool files by topic.
fn spool(encoder: &mut Encoder, outputs: &Outputs) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for output in outputs.iter() {
        add_line(&mut files, &encoder.encode(output, outputs).record());
    }
    files
}

fn add_line(files: &mut BTreeMap<String, Vec<u8>>, record: &Record<'_>) {
    let topics = topics();
    let (topic, _) = topics.outputs().nth(usize::from(record.topic.0)).unwrap();
    spool_line(record, files.entry(topic.to_owned()).or_default());
}

/// The members of a JSON object in the order they stand in.
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    fn of(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(member, _)| member == name).unwrap().1.get()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[test]
fn records_are_the_golden_bytes() {
    let out = &mut Outputs::new();
    one_lot(out);
    let encoder = &mut encoder();
    let mut files = spool(encoder, out);
    let plan = plan();
    for (offset, payload) in [(17, "{\"codice_lotto\":"), (18, r#"{"codice_lotto":"L-1","cliente":"Acme","quantita":0}"#)] {
        let rejection = parse_order(payload.as_bytes(), &plan).unwrap_err();
        let rejected = encoder.encode_rejected(at("2025-06-25T15:30:00.250Z"), &rejection, (2, offset), payload.as_bytes());
        add_line(&mut files, &rejected.record());
    }
    assert_eq!(files.len(), topics().outputs().count(), "every topic has its record");
    for (topic, bytes) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(format!("{topic}.jsonl"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8(bytes).unwrap(), golden, "{topic}");
    }
}

/// What one lot gives, a record of each kind.
fn one_lot(out: &mut Outputs) {
    let start = at("2025-06-25T15:30:00.250Z");
    let after = |seconds| start + Span::from_secs(seconds);
    let last_maintenance = at("2025-06-20T10:00:00Z");
    let code = out.push_text("L-2025-0001");
    let client = out.push_text("Caffè \"Acme\"\\\n");
    out.push(start, What::LotReceived { code, client, quantity: 100, site: SiteId(0), priority: Priority::High });
    let readings: [(u16, u16, Option<u16>, &[i64]); 7] = [
        (0, 0, None, &[455, 23, 15, 0]),
        (0, 0, Some(3), &[455, 49, 140, 2]),
        (1, 1, None, &[0, 1500, 453, 17]),
        (1, 1, Some(1), &[2, 0, 405, 17]),
        (2, 2, None, &[605, 4, 0]),
        (2, 2, None, &[1200, 8, 0b1100]),
        (3, 0, None, &[0b11101, 95, 949, 205]),
    ];
    for (seq, (stage, site, blocked, values)) in (1..).zip(readings) {
        let values = out.push_values(values.iter().copied());
        let machine = machine(stage, site, 1);
        let telemetry = What::Telemetry { machine, seq, code: Some(code), blocked, last_maintenance, values };
        out.push(after(10 * seq as i64), telemetry);
    }
    let values = out.push_values([0, 0, 200, 0]);
    let idle = What::Telemetry { machine: machine(1, 2, 3), seq: 1, code: None, blocked: None, last_maintenance, values };
    out.push(after(80), idle);
    let assembly = machine(2, 0, 1);
    out.push(after(90), What::StageStarted { code, machine: assembly, processing: Span(2_730_001) });
    out.push(after(100), What::MachineBlocked { machine: assembly, code, reason: 2 });
    out.push(after(400), What::MachineUnblocked { machine: assembly, code, blocked: Span::from_secs(300) });
    out.push(after(3120), What::StageCompleted { code, machine: assembly, duration: Span(3_030_001) });
    let stages = out.push_values([2_400_000, 0, 3_030_001, 599]);
    let total = Span(5_430_900);
    out.push(after(5430), What::LotCompleted { code, site: SiteId(0), quantity: 100, total, queued: Span(300), stages });
}

#[test]
fn keys_and_headers_name_the_machine_or_the_lot() {
    let out = &mut Outputs::new();
    one_lot(out);
    let encoder = &mut encoder();
    for output in out.iter() {
        let encoded = encoder.encode(output, out);
        let record = encoded.record();
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (*name, str::from_utf8(value).unwrap())).collect();
        let key = str::from_utf8(record.key).unwrap();
        assert_eq!(record.timestamp, output.at);
        assert_eq!(headers.last(), Some(&("run_id", RUN_ID)));
        let rest = &headers[..headers.len() - 1];
        match output.what {
            What::Telemetry { seq, .. } => assert_eq!(rest, [("machine_id", key), ("seq", seq.to_string().as_str())]),
            What::LotReceived { .. } | What::LotCompleted { .. } => assert_eq!((key, rest), ("L-2025-0001", &[][..])),
            What::StageStarted { .. } | What::StageCompleted { .. } => {
                assert_eq!((key, rest), ("L-2025-0001", &[("machine_id", "linea_assemblaggio-Italia-1")][..]));
            }
            What::MachineBlocked { .. } | What::MachineUnblocked { .. } => {
                assert_eq!((key, rest), ("linea_assemblaggio-Italia-1", &[("machine_id", key)][..]));
            }
        }
    }
}

#[test]
fn events_have_their_members_in_order() {
    let expected: [(&str, &[&str]); 6] = [
        ("lot.received", &["codice_lotto", "cliente", "quantita", "location", "priorita"]),
        ("assemblaggio.started", &["codice_lotto", "machine_id", "processing_time_seconds"]),
        ("machine.blocked", &["machine_id", "codice_lotto", "reason"]),
        ("machine.unblocked", &["machine_id", "codice_lotto", "blocked_seconds"]),
        ("assemblaggio.completed", &["codice_lotto", "machine_id", "duration_seconds"]),
        (
            "lot.completed",
            &[
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
        ),
    ];
    let out = &mut Outputs::new();
    one_lot(out);
    let encoder = &mut encoder();
    let mut expected = expected.iter();
    for output in out.iter() {
        let encoded = encoder.encode(output, out);
        let record = encoded.record();
        if record.topic == topics().events_id() {
            let (event_type, members) = expected.next().unwrap();
            let event = Members::of(record.value);
            assert_eq!(event.names(), ["event_type", "data", "timestamp"]);
            assert_eq!(event.get("event_type"), format!("\"{event_type}\""));
            let data = Members::of(event.get("data").as_bytes());
            assert_eq!(data.names(), [*members, &["timestamp"]].concat());
            assert_eq!(data.get("timestamp"), event.get("timestamp"));
        }
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn the_run_id_is_eight_digits() {
    assert_eq!(run_id(0), "00000000");
    assert_eq!(run_id(u64::MAX), "ffffffff");
    assert_eq!(run_id(0x00c0_ffee_1234_5678), "00c0ffee");
}

#[test]
fn a_zone_that_does_not_exist_is_an_error() {
    let mut plan = plan();
    plan.sites[1].timezone = "Brasile/Brasilia".into();
    let error = Encoder::new(&plan, &topics(), RUN_ID).unwrap_err();
    assert_eq!(error, UnknownZone("Brasile/Brasilia".into()));
}

/// A number of the plan's telemetry as a float's formatting has it.
fn float(value: i64, decimals: u8) -> String {
    format!("{:.*}", usize::from(decimals), value as f64 / 10f64.powi(i32::from(decimals)))
}

proptest! {
    #[test]
    fn telemetry_says_what_it_was_given(
        code in prop::option::of(".{1,64}"),
        (stage, site, number, seq) in (0u16..4, 0u16..3, 1u32.., 1u64..),
        blocked in prop::option::of(0u16..4),
        (instant, maintenance) in (0i64..4_102_444_800_000, 0i64..4_102_444_800_000),
        raw in prop::collection::vec(0i64..1_000_000, 4),
    ) {
        let plan = plan();
        let row = &plan.stages[usize::from(stage)];
        let values: Vec<i64> = row.signals.iter().zip(&raw).map(|(signal, raw)| match &signal.kind {
            SignalKind::Choice(choices) => raw % choices.choices.len() as i64,
            _ => *raw,
        }).collect();
        let out = &mut Outputs::new();
        let text = code.as_deref().map(|code| out.push_text(code));
        let in_out = out.push_values(values.iter().copied());
        let machine = machine(stage, site, number);
        let (at, last_maintenance) = (SimTime(instant), SimTime(maintenance));
        out.push(at, What::Telemetry { machine, seq, code: text, blocked, last_maintenance, values: in_out });
        let encoder = &mut encoder();
        let encoded = encoder.encode(out.iter().next().unwrap(), out);
        let record = encoded.record();

        let members = Members::of(record.value);
        let own = row.signals.iter().map(|signal| &*signal.name);
        prop_assert_eq!(members.names(), TELEMETRY_FIELDS.into_iter().chain(own).collect::<Vec<_>>());
        let read = |name: &str| serde_json::from_str::<Option<String>>(members.get(name)).unwrap();
        prop_assert_eq!(read("codice_lotto"), code);
        prop_assert_eq!(read("luogo"), Some(plan.sites[usize::from(site)].name.to_string()));
        prop_assert_eq!(read("macchina"), Some(row.label.to_string()));
        prop_assert_eq!(members.get("blocco_macchina"), blocked.is_some().to_string());
        let reason = blocked.map(|reason| row.block_reasons[usize::from(reason)].reason.to_string());
        prop_assert_eq!(read("motivo_blocco"), reason);
        let second = |instant: i64| SimTime(instant.div_euclid(1000) * 1000);
        for (name, instant) in [("timestamp_locale", at), ("timestamp_utc", at), ("ultima_manutenzione", last_maintenance)] {
            prop_assert_eq!(parse_rfc3339(&read(name).unwrap()), Some(second(instant.0)));
        }
        for (signal, value) in row.signals.iter().zip(values) {
            prop_assert_eq!(members.get(&signal.name), rendered(&signal.kind, value));
        }
    }

    #[test]
    fn spool_lines_give_their_record_back(key in ".*", value in prop::collection::vec(any::<u8>(), 0..200), ms: i64) {
        check_spool_line(&key, &value, ms)?;
    }

    #[test]
    fn spool_lines_keep_json_as_it_is(key in ".*", text in ".*", number: i64, ms: i64) {
        let value = serde_json::to_vec(&serde_json::json!({ "text": text, "list": [number, null, 1.5] })).unwrap();
        check_spool_line(&key, &value, ms)?;
    }
}

/// A signal's value by `serde_json` and float formatting.
fn rendered(kind: &SignalKind, value: i64) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let is_set = |bit: usize| value >> bit & 1 == 1;
    match kind {
        SignalKind::Number(level) => float(value, level.decimals),
        SignalKind::CycleTime { decimals } => float(value, *decimals),
        SignalKind::Integer(_) | SignalKind::Pieces => value.to_string(),
        SignalKind::Choice(choices) => json(&choices.choices[value as usize].value),
        SignalKind::List(choices) => {
            let set = choices.choices.iter().enumerate().filter(|(bit, _)| is_set(*bit));
            serde_json::to_string(&set.map(|(_, choice)| &choice.value).collect::<Vec<_>>()).unwrap()
        }
        SignalKind::Passes { passes, .. } => {
            let members = passes.iter().enumerate().map(|(bit, pass)| format!("{}:{}", json(&pass.name), is_set(bit)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

fn check_spool_line(key: &str, value: &[u8], ms: i64) -> Result<(), TestCaseError> {
    let timestamp = SimTime(ms);
    let headers: [(&str, &[u8]); 2] = [("machine_id", b"fresa_cnc-Italia-1"), ("seq", b"17")];
    let record = Record { topic: TopicId(0), key: key.as_bytes(), timestamp, headers: &headers, value };
    let mut line = Vec::new();
    spool_line(&record, &mut line);
    prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let members = Members::of(&line);
    prop_assert_eq!(members.names(), ["key", "timestamp", "headers", "value"]);
    prop_assert_eq!(serde_json::from_str::<String>(members.get("key")).unwrap(), key);
    prop_assert_eq!(members.get("headers"), r#"{"machine_id":"fresa_cnc-Italia-1","seq":"17"}"#);
    let read = order_line(&line);
    prop_assert_eq!(read.timestamp, Some(timestamp));
    let text = String::from_utf8_lossy(value);
    match serde_json::from_slice::<Value>(value) {
        Ok(_) => prop_assert_eq!(members.get("value"), text.trim_ascii().replace(['\n', '\r'], " ")),
        Err(_) => prop_assert_eq!(&*read.payload, text.as_bytes()),
    }
    Ok(())
}

#[test]
fn json_of_several_lines_becomes_one() {
    let record = Record { topic: TopicId(0), key: b"", timestamp: SimTime(0), headers: &[], value: b"{\r\n  \"a\": 1\n}" };
    let mut line = Vec::new();
    spool_line(&record, &mut line);
    assert_eq!(line, b"{\"key\":\"\",\"timestamp\":0,\"headers\":{},\"value\":{    \"a\": 1 }}\n");
}
