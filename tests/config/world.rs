//! The shipped signals, as the factory plays them: they agree with each other, and what is rare is rare.

use crate::load;
use mokasim::factory::outputs::{Outputs, What};
use mokasim::factory::plan::{Plan, SignalKind};
use mokasim::factory::{Factory, Order};
use mokasim::units::{Priority, SimTime, SiteId};
use std::collections::HashMap;

/// A telemetry record of one stage: the lot, whether the machine is blocked, and the values by name.
struct Reading {
    code: String,
    blocked: bool,
    values: HashMap<String, f64>,
    texts: HashMap<String, Vec<String>>,
}

/// All telemetry of a stage while 90 lots pass through the shipped factory.
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
fn readings(stage: &str) -> Vec<Reading> {
    let plan = Plan { seed: 20_250_625, ..load("").unwrap().plan };
    let mut factory = Factory::new(&plan, SimTime(0));
    let mut outputs = Outputs::new();
    for lot in 0..90 {
        let code = format!("L-{lot}");
        let order = Order { code: &code, client: "Acme", quantity: 100, site: SiteId(lot % 3), priority: Priority::Normal };
        factory.offer(SimTime(0), &order, &mut outputs).unwrap();
    }
    factory.advance(SimTime(i64::MAX / 2), usize::MAX, &mut outputs);
    let mut readings = Vec::new();
    for output in outputs.iter() {
        let What::Telemetry { machine, code, blocked, values, .. } = output.what else { continue };
        let row = plan.stage(machine.stage);
        if *row.name == *stage {
            let mut reading = Reading {
                code: code.map(|code| outputs.text(code).to_owned()).unwrap_or_default(),
                blocked: blocked.is_some(),
                values: HashMap::new(),
                texts: HashMap::new(),
            };
            for (signal, value) in row.signals.iter().zip(outputs.values(values)) {
                reading.insert(&signal.name, &signal.kind, *value);
            }
            readings.push(reading);
        }
    }
    assert!(readings.len() > 5_000, "{}", readings.len());
    readings
}

impl Reading {
    fn insert(&mut self, name: &str, kind: &SignalKind, value: i64) {
        let bits = |bit: &usize| value >> bit & 1 == 1;
        let texts = match kind {
            SignalKind::Number(level) => {
                let number = value as f64 / 10_f64.powi(level.decimals.into());
                self.values.insert(name.to_owned(), number);
                return;
            }
            SignalKind::Integer(_) | SignalKind::Pieces | SignalKind::CycleTime { .. } => {
                self.values.insert(name.to_owned(), value as f64);
                return;
            }
            SignalKind::Choice(choices) => vec![&choices.choices[value as usize].value],
            SignalKind::List(choices) => {
                (0..choices.choices.len()).filter(bits).map(|bit| &choices.choices[bit].value).collect()
            }
            SignalKind::Passes { passes, .. } => (0..passes.len()).filter(bits).map(|bit| &passes[bit].name).collect(),
        };
        self.texts.insert(name.to_owned(), texts.into_iter().map(ToString::to_string).collect());
    }

    fn has(&self, signal: &str, text: &str) -> bool {
        self.texts[signal].iter().any(|other| other == text)
    }
}

/// The share of readings for which `holds`.
fn share(readings: &[Reading], holds: impl Fn(&Reading) -> bool) -> f64 {
    readings.iter().filter(|reading| holds(reading)).count() as f64 / readings.len() as f64
}

/// The mean of a signal over the readings for which `holds`.
fn mean(readings: &[Reading], signal: &str, holds: impl Fn(&Reading) -> bool) -> f64 {
    let values: Vec<_> = readings.iter().filter(|reading| holds(reading)).map(|reading| reading.values[signal]).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn alarms_of_mills_come_with_vibration_and_it_with_depth() {
    let readings = readings("fresa_cnc");
    for reading in &readings {
        let vibration = reading.values["vibrazione"];
        assert!((0.05..=1.5).contains(&vibration));
        assert!(!reading.has("allarmi_utente", "Utensile usurato") || vibration > 1.2, "worn at {vibration} g");
        assert!(!reading.has("allarmi_utente", "Rottura utensile") || vibration > 1.35, "broken at {vibration} g");
    }
    let deep = mean(&readings, "vibrazione", |reading| reading.values["profondita_taglio"] > 3.5);
    let shallow = mean(&readings, "vibrazione", |reading| reading.values["profondita_taglio"] < 1.5);
    assert!(deep > shallow + 0.2, "{deep} g when deep, {shallow} g when shallow");
    let worn = share(&readings, |reading| reading.has("allarmi_utente", "Utensile usurato"));
    let broken = share(&readings, |reading| reading.has("allarmi_utente", "Rottura utensile"));
    assert!((0.005..0.1).contains(&worn) && broken < 0.02 && broken < worn, "worn {worn}, broken {broken}");
}

#[test]
fn lathes_stand_while_blocked_and_heat_up_with_speed() {
    let readings = readings("tornio");
    for reading in &readings {
        let stands = reading.has("stato_macchina", "Guasto") || reading.has("stato_macchina", "Manutenzione");
        assert_eq!(stands, reading.blocked);
        assert_eq!(reading.has("stato_macchina", "Operativa"), !reading.blocked);
        let speed = reading.values["velocita_rotazione"];
        assert!(if reading.blocked { speed == 0.0 } else { (500.0..=3000.0).contains(&speed) }, "{speed} rpm");
        assert!((20.0..=80.0).contains(&reading.values["temperatura_mandrino"]));
    }
    assert!((0.002..0.1).contains(&share(&readings, |reading| reading.blocked)));
    let fast = mean(&readings, "temperatura_mandrino", |reading| reading.values["velocita_rotazione"] > 2500.0);
    let slow = mean(&readings, "temperatura_mandrino", |reading| reading.values["velocita_rotazione"] < 1000.0);
    assert!(fast > slow + 5.0, "{fast} degrees at speed, {slow} when slow");
}

#[test]
fn assembly_lines_have_a_crew_a_lot_and_few_anomalies() {
    let readings = readings("assemblaggio");
    let mut crews = HashMap::new();
    for reading in &readings {
        let crew = reading.values["numero_operatori"];
        assert!((2.0..=8.0).contains(&crew));
        assert_eq!(*crews.entry(&reading.code).or_insert(crew), crew, "the crew of {}", reading.code);
        let seconds = reading.values["tempo_medio_stazione"];
        let is_long = reading.has("anomalie_rilevate", "Tempo ciclo eccessivo");
        assert!(!is_long || seconds > 110.0, "{seconds} s are long");
    }
    let quiet = share(&readings, |reading| reading.texts["anomalie_rilevate"].is_empty());
    assert!((0.9..0.99).contains(&quiet), "{quiet} without anomaly");
}

#[test]
fn tests_pass_and_agree_with_the_reading_beside_them() {
    let readings = readings("test");
    for test in ["pressione", "temperatura", "portata", "rumore", "vibrazione"] {
        let passed = share(&readings, |reading| reading.has("esiti_test_funzionali", test));
        assert!((0.93..0.97).contains(&passed), "{test} passes with {passed}");
    }
    for (test, signal, min, max) in
        [("pressione", "pressione_caldaia", 8.0, 15.0), ("temperatura", "temperatura_caldaia", 85.0, 95.0)]
    {
        for reading in &readings {
            let level = (reading.values[signal] - min) / (max - min);
            let is_usual = level > 0.1 && level < 0.9;
            assert_eq!(reading.has("esiti_test_funzionali", test), is_usual, "{test} at {}", reading.values[signal]);
        }
    }
}
