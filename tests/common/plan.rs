//! A plan like the shipped one: three sites, four stages, every kind of signal.

use mokasim::factory::plan::*;
use mokasim::units::Span;
use mokasim::wire::Topics;

/// The plan.
pub(crate) fn plan() -> Plan {
    let site = |name: &str, timezone: &str, machines: [u32; 4]| Site {
        name: name.into(),
        timezone: timezone.into(),
        machines: machines.into(),
    };
    Plan {
        seed: 42,
        stages: vec![fresa_cnc(), tornio(), assemblaggio(), test()],
        sites: vec![
            site("Italia", "Europe/Rome", [3, 2, 1, 1]),
            site("Brasile", "America/Sao_Paulo", [2, 3, 2, 1]),
            site("Vietnam", "Asia/Ho_Chi_Minh", [4, 3, 2, 2]),
        ],
        priority_processing: true,
        block_probability: 0.05,
        block_duration: seconds(120, 900),
        telemetry_interval: Span::from_secs(10),
        idle_telemetry: false,
        capacity: Capacity { lots: 10_000, remembered_codes: 100_000 },
    }
}

/// The topics of the documentation.
pub(crate) fn topics() -> Topics {
    Topics {
        orders: "coffeemek.orders.new_lots".into(),
        telemetry: plan().stages.iter().map(|stage| format!("coffeemek.telemetry.{}", stage.topic)).collect(),
        events: "coffeemek.events.production_status".into(),
        rejected: "coffeemek.orders.rejected".into(),
    }
}

fn fresa_cnc() -> Stage {
    let alarms =
        [("Nessuno", Rule::Otherwise), ("Utensile usurato", Rule::Above(0.75)), ("Rottura utensile", Rule::Above(0.9))];
    let signals = vec![
        signal("tempo_ciclo", SignalKind::CycleTime { decimals: 1 }),
        number("profondita_taglio", 0.1, 5.0, 1, &[(Source::Lot, 0.6), (Source::Noise, 0.4)]),
        number("vibrazione", 0.05, 1.5, 2, &[(Source::Signal(1), 0.5), (Source::Wear, 0.4), (Source::Noise, 0.1)]),
        signal("allarmi_utente", SignalKind::Choice(choices(Some(2), &alarms))),
    ];
    stage("fresa_cnc", "fresa_cnc", "Fresa CNC", seconds(1200, 3600), signals)
}

fn tornio() -> Stage {
    let states = [
        ("Operativa", Rule::Otherwise),
        ("Inattiva", Rule::Idle),
        ("Guasto", Rule::Blocked),
        ("Manutenzione", Rule::Maintenance),
    ];
    let mut speed = level(500.0, 3000.0, 0, &[(Source::Lot, 0.8), (Source::Noise, 0.2)]);
    speed.when_blocked = Some(0.0);
    let heat = [(Source::Signal(1), 0.35), (Source::Load, 0.6), (Source::Noise, 0.05)];
    let signals = vec![
        signal("stato_macchina", SignalKind::Choice(choices(None, &states))),
        signal("velocita_rotazione", SignalKind::Number(speed)),
        number("temperatura_mandrino", 20.0, 80.0, 1, &heat),
        signal("numero_pezzi_completati", SignalKind::Pieces),
    ];
    stage("tornio", "tornio", "Tornio automatico", seconds(900, 2700), signals)
}

fn assemblaggio() -> Stage {
    let anomalies = [
        ("Componente mancante", Rule::Probability(0.01)),
        ("Disallineamento", Rule::Probability(0.01)),
        ("Tempo ciclo eccessivo", Rule::Above(0.9)),
        ("Qualità insufficiente", Rule::Probability(0.005)),
    ];
    let signals = vec![
        number("tempo_medio_stazione", 30.0, 120.0, 1, &[(Source::Lot, 0.6), (Source::Noise, 0.4)]),
        signal("numero_operatori", SignalKind::Integer(level(2.0, 8.0, 0, &[(Source::Lot, 1.0)]))),
        signal("anomalie_rilevate", SignalKind::List(choices(Some(0), &anomalies))),
    ];
    stage("assemblaggio", "linea_assemblaggio", "Linea assemblaggio", seconds(1800, 5400), signals)
}

fn test() -> Stage {
    let pass = |name: &str, signal| Pass { name: name.into(), signal };
    let passes = vec![
        pass("pressione", Some(1)),
        pass("temperatura", Some(2)),
        pass("portata", None),
        pass("rumore", None),
        pass("vibrazione", None),
    ];
    let follows = [(Source::Lot, 0.7), (Source::Noise, 0.3)];
    let signals = vec![
        signal("esiti_test_funzionali", SignalKind::Passes { passes, probability: 0.95 }),
        number("pressione_caldaia", 8.0, 15.0, 1, &follows),
        number("temperatura_caldaia", 85.0, 95.0, 1, &follows),
        number("consumo_energetico", 1.5, 3.5, 2, &follows),
    ];
    stage("test", "linea_test", "Linea di test", seconds(600, 1800), signals)
}

fn stage(name: &str, machine: &str, label: &str, duration: Range<Span>, signals: Vec<Signal>) -> Stage {
    let reason = |reason: &str, maintenance| BlockReason { reason: reason.into(), maintenance };
    Stage {
        name: name.into(),
        machine: machine.into(),
        label: label.into(),
        topic: name.into(),
        duration,
        signals,
        block_reasons: vec![
            reason("Manutenzione urgente", true),
            reason("Guasto componente", false),
            reason("Controllo qualità", false),
            reason("Cambio utensile", true),
        ],
    }
}

fn seconds(min: i64, max: i64) -> Range<Span> {
    Range { min: Span::from_secs(min), max: Span::from_secs(max) }
}

fn signal(name: &str, kind: SignalKind) -> Signal {
    Signal { name: name.into(), kind }
}

fn number(name: &str, min: f64, max: f64, decimals: u8, follows: &[(Source, f64)]) -> Signal {
    signal(name, SignalKind::Number(level(min, max, decimals, follows)))
}

fn level(min: f64, max: f64, decimals: u8, follows: &[(Source, f64)]) -> Level {
    Level { range: Range { min, max }, decimals, follows: follows.to_vec(), when_blocked: None }
}

fn choices(signal: Option<u16>, choices: &[(&str, Rule)]) -> Choices {
    let choices = choices.iter().map(|(value, rule)| Choice { value: (*value).into(), rule: *rule }).collect();
    Choices { signal, choices }
}
