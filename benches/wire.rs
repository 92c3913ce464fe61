//! Telemetry records encoded per second, beside `serde_json` on a plain struct that says the same.
//!
//! The encoder makes whole records (key, headers, value; date-times from instants, in the site's zone too). The struct is
//! given its date-times as ready-made text, and only its value is written.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and stops on what cannot be")]

use mokasim::clock;
use mokasim::config::{self, Overrides};
use mokasim::factory::outputs::{Machine, Outputs, What};
use mokasim::units::{SimTime, SiteId, SlotId, Span, StageId};
use mokasim::wire::{Encoder, spool_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::hint::black_box;

const RECORDS: usize = 200;
const ROUNDS: usize = 1001;
const START: SimTime = SimTime(1_750_865_400_250);
const DAY_MS: i64 = 86_400_000;

/// A mill's record as a plain struct.
#[derive(Deserialize, Serialize)]
struct Mill {
    codice_lotto: Option<String>,
    luogo: String,
    timestamp_locale: String,
    timestamp_utc: String,
    blocco_macchina: bool,
    motivo_blocco: Option<String>,
    ultima_manutenzione: String,
    macchina: String,
    tempo_ciclo: f64,
    profondita_taglio: f64,
    vibrazione: f64,
    allarmi_utente: String,
}

/// Three mills of one site in turn, as often as the records of 26 machines that send every 10 s, each with a maintenance day
/// of its own.
fn outputs() -> Outputs {
    let mut out = Outputs::new();
    let code = out.push_text("L-2025-0001");
    for n in 0..RECORDS as i64 {
        let what = What::Telemetry {
            machine: Machine { slot: SlotId(0), site: SiteId(0), stage: StageId(0), number: 1 + n as u32 % 3 },
            seq: n as u64,
            code: Some(code),
            blocked: None,
            last_maintenance: SimTime(START.0 - DAY_MS * (1 + n % 3)),
            values: out.push_values([455, 1 + n % 50, 5 + n % 146, 0]),
        };
        out.push(START + Span(385 * n), what);
    }
    out
}

fn main() {
    let config = config::load(None, &|_| None, &Overrides::default()).unwrap();
    let outputs = outputs();
    let mut encoder = Encoder::new(&config.plan, &config.kafka.topics, "0badcafe").unwrap();
    let mut buffer = Vec::new();
    let mills: Vec<Mill> = outputs.iter().map(|output| same_as(encoder.encode(output, &outputs).record().value)).collect();

    // In turn, so that whatever else the machine does meets all of them.
    let mut times_ns: [Vec<f64>; 3] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        times_ns[0].push(time_ns(|| {
            for output in outputs.iter() {
                black_box(encoder.encode(output, &outputs).record());
            }
        }));
        times_ns[1].push(time_ns(|| {
            for mill in &mills {
                buffer.clear();
                serde_json::to_writer(&mut buffer, mill).unwrap();
                black_box(&buffer);
            }
        }));
        times_ns[2].push(time_ns(|| {
            for output in outputs.iter() {
                buffer.clear();
                spool_line(&encoder.encode(output, &outputs).record(), &mut buffer);
                black_box(&buffer);
            }
        }));
    }
    let [ours, theirs, spooled] = times_ns.map(median);
    for (what, ns) in [("encoder", ours), ("serde_json, plain struct", theirs), ("encoder and spool line", spooled)] {
        println!("telemetry, {what:<24} {:>10.0} records/s  {ns:>5.0} ns each", 1e9 / ns);
    }
    println!("telemetry, encoder against serde_json: {:.2}x (target: at least 2x)", theirs / ours);
}

/// The struct that says what the encoder wrote.
fn same_as(value: &[u8]) -> Mill {
    let mill: Mill = serde_json::from_slice(value).unwrap();
    let (ours, theirs): (Value, Value) = (serde_json::from_slice(value).unwrap(), serde_json::to_value(&mill).unwrap());
    assert_eq!(ours, theirs);
    mill
}

/// The time of a round, for each record.
fn time_ns(round: impl FnOnce()) -> f64 {
    let start = clock::now();
    round();
    (clock::now() - start).as_nanos() as f64 / RECORDS as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
