//! Telemetry: when it is sent, and that its values fit together.

use crate::world::*;
use mokasim::factory::outputs::{Machine, Output, Outputs, What};
use mokasim::factory::plan::{Level, Plan, Rule, SignalKind};
use mokasim::units::{Priority, SimTime, SiteId, SlotId, Span};
use std::collections::HashMap;

/// A telemetry record with its values by signal name.
struct Record<'a> {
    at: SimTime,
    machine: Machine,
    code: Option<&'a str>,
    blocked: Option<u16>,
    values: HashMap<&'a str, i64>,
}

fn records<'a>(plan: &'a Plan, out: &'a Outputs) -> Vec<Record<'a>> {
    let record = |output: &Output| match output.what {
        What::Telemetry { machine, code, blocked, values, .. } => {
            let names = plan.stage(machine.stage).signals.iter().map(|signal| &*signal.name);
            let values = names.zip(out.values(values).iter().copied()).collect();
            Some(Record { at: output.at, machine, code: code.map(|code| out.text(code)), blocked, values })
        }
        _ => None,
    };
    out.iter().filter_map(record).collect()
}

/// A day's work of the shipped factory, with more blocks.
fn a_busy_day(idle_telemetry: bool) -> (Plan, Outputs) {
    let plan = Plan { block_probability: 0.5, idle_telemetry, ..shipped(11) };
    let arrival =
        |n: i64| Arrival { site: SiteId((n % 3) as u16), ..Arrival::new(n * 600_000, &format!("L-{n}"), Priority::Normal) };
    let arrivals: Vec<_> = (0..60).map(arrival).collect();
    let (_, out) = run(&plan, &arrivals, ONE_JUMP, A_DAY);
    (plan, out)
}

fn level<'a>(plan: &'a Plan, name: &str) -> &'a Level {
    let mut signals = plan.stages.iter().flat_map(|stage| &stage.signals);
    match &signals.find(|signal| *signal.name == *name).unwrap().kind {
        SignalKind::Number(level) | SignalKind::Integer(level) => level,
        kind => panic!("{name} is {kind:?}"),
    }
}

/// Where in its range a value lies, as a reader of the record sees it.
fn seen(level: &Level, value: i64) -> f64 {
    let number = value as f64 / 10f64.powi(level.decimals.into());
    (number - level.range.min) / (level.range.max - level.range.min)
}

#[test]
fn numbers_stay_in_their_range_unless_a_block_says_otherwise() {
    for idle_telemetry in [false, true] {
        let (plan, out) = a_busy_day(idle_telemetry);
        for record in records(&plan, &out) {
            for signal in &plan.stage(record.machine.stage).signals {
                let value = record.values[&*signal.name];
                if let SignalKind::Number(level) | SignalKind::Integer(level) = &signal.kind {
                    let stands = record.blocked.is_some() || record.code.is_none();
                    match level.when_blocked {
                        Some(number) if stands => assert_eq!(value as f64, number * 10f64.powi(level.decimals.into())),
                        _ => assert!((-1e-9..=1.0 + 1e-9).contains(&seen(level, value)), "{}: {value}", signal.name),
                    }
                }
            }
        }
    }
}

#[test]
fn alarms_follow_vibration() {
    let (plan, out) = a_busy_day(false);
    let alarms = plan.stages[0].signals.iter().find(|signal| &*signal.name == "allarmi_utente").unwrap();
    let SignalKind::Choice(alarms) = &alarms.kind else { panic!("{alarms:?}") };
    let mut counts = [0; 3];
    for record in records(&plan, &out).iter().filter(|record| record.machine.stage.0 == 0) {
        let vibration = seen(level(&plan, "vibrazione"), record.values["vibrazione"]);
        let above = alarms.choices.iter().filter(|choice| matches!(choice.rule, Rule::Above(than) if vibration > than));
        let alarm = record.values["allarmi_utente"] as usize;
        assert_eq!(alarm, above.count(), "at vibration {vibration}");
        counts[alarm] += 1;
    }
    assert!(counts.iter().all(|&count| count > 0), "each alarm is seen: {counts:?}");
}

#[test]
fn a_blocked_spindle_stands_still_and_cools() {
    let (plan, out) = a_busy_day(false);
    let records = records(&plan, &out);
    let reasons = &plan.stages[1].block_reasons;
    let (mut first, mut last, mut blocks) = (0, 0, 0);
    let of_lathes: Vec<_> = records.iter().filter(|record| record.machine.stage.0 == 1).collect();
    for record in &of_lathes {
        let state = match record.blocked {
            None => 0,
            Some(reason) if reasons[usize::from(reason)].maintenance => 3,
            Some(_) => 2,
        };
        assert_eq!(record.values["stato_macchina"], state);
        assert_eq!(record.values["velocita_rotazione"] == 0, record.blocked.is_some());
    }
    let mut by_machine: HashMap<SlotId, Vec<_>> = HashMap::new();
    of_lathes.iter().for_each(|record| by_machine.entry(record.machine.slot).or_default().push(record));
    for records in by_machine.values() {
        for block in records.chunk_by(|a, b| a.blocked.is_some() == b.blocked.is_some()) {
            if block[0].blocked.is_some() && block.len() > 20 {
                first += block[0].values["temperatura_mandrino"];
                last += block[block.len() - 1].values["temperatura_mandrino"];
                blocks += 1;
            }
        }
    }
    assert!(blocks > 5, "{blocks}");
    assert!(last < first, "mean of {blocks} blocks: from {first} to {last} tenths");
}

#[test]
fn a_spindle_gets_warm_at_work() {
    let (plan, out) = a_busy_day(false);
    let mut sums = [(0, 0); 2];
    let records = records(&plan, &out);
    for record in records.iter().filter(|record| record.machine.stage.0 == 1 && record.blocked.is_none()) {
        let part = match record.values["numero_pezzi_completati"] {
            ..10 => 0,
            90.. => 1,
            _ => continue,
        };
        sums[part].0 += record.values["temperatura_mandrino"];
        sums[part].1 += 1;
    }
    let [early, late] = sums.map(|(sum, count)| sum / count);
    assert!(late > early + 50, "{early} and {late} tenths of a degree");
}

#[test]
fn pieces_rise_to_the_quantity() {
    let (plan, out) = a_busy_day(false);
    let mut by_lot: HashMap<&str, Vec<i64>> = HashMap::new();
    let records = records(&plan, &out);
    for record in records.iter().filter(|record| record.machine.stage.0 == 1) {
        by_lot.entry(record.code.unwrap()).or_default().push(record.values["numero_pezzi_completati"]);
    }
    assert_eq!(by_lot.len(), 60);
    for (code, pieces) in by_lot {
        assert!(pieces.is_sorted(), "{code}: {pieces:?}");
        assert_eq!((pieces.first(), pieces.last()), (Some(&0), Some(&100)), "{code}");
    }
}

#[test]
fn a_failed_test_agrees_with_its_reading() {
    let (plan, out) = a_busy_day(false);
    let SignalKind::Passes { passes, .. } = &plan.stages[3].signals[0].kind else { panic!("the first signal") };
    let (mut failed, mut all) = (0, 0);
    for record in records(&plan, &out).iter().filter(|record| record.machine.stage.0 == 3) {
        let bits = record.values[&*plan.stages[3].signals[0].name];
        assert_eq!(bits >> passes.len(), 0);
        for (n, pass) in passes.iter().enumerate() {
            let passed = bits >> n & 1 == 1;
            failed += u32::from(!passed);
            all += 1;
            if let Some(signal) = pass.signal {
                let name = &*plan.stages[3].signals[usize::from(signal)].name;
                let seen = seen(level(&plan, name), record.values[name]);
                assert_eq!(passed, (0.1..=0.9).contains(&seen), "{name} at {seen}");
            }
        }
    }
    let rate = f64::from(failed) / f64::from(all);
    assert!((0.04..0.06).contains(&rate), "{rate} of {all} fail");
}

#[test]
fn cycle_time_is_the_lots_work_in_minutes() {
    let (plan, out) = a_busy_day(false);
    let mut work = HashMap::new();
    for output in out.iter() {
        if let What::StageStarted { code, machine, processing } = output.what
            && machine.stage.0 == 0
        {
            work.insert(out.text(code), processing);
        }
    }
    for record in records(&plan, &out).iter().filter(|record| record.machine.stage.0 == 0) {
        let minutes = work[record.code.unwrap()].0 as f64 / 60_000.0;
        assert!((record.values["tempo_ciclo"] as f64 / 10.0 - minutes).abs() <= 0.05 + 1e-9);
    }
}

#[test]
fn a_machine_reports_at_every_interval_and_at_every_change() {
    let (plan, out) = a_busy_day(false);
    let change = |what| match what {
        What::StageStarted { machine, .. }
        | What::StageCompleted { machine, .. }
        | What::MachineBlocked { machine, .. }
        | What::MachineUnblocked { machine, .. } => Some(machine.slot),
        _ => None,
    };
    let mut changes: HashMap<(SlotId, SimTime), i32> = HashMap::new();
    for output in out.iter() {
        if let Some(slot) = change(output.what) {
            *changes.entry((slot, output.at)).or_default() += 1;
        }
    }
    let mut periodic: HashMap<SlotId, SimTime> = HashMap::new();
    for &Output { at, what } in out.iter() {
        match what {
            What::StageStarted { machine, .. } => {
                periodic.insert(machine.slot, at + plan.telemetry_interval);
            }
            What::StageCompleted { machine, .. } => {
                periodic.remove(&machine.slot);
            }
            What::Telemetry { machine, .. } => {
                let due = periodic.get_mut(&machine.slot).unwrap();
                assert!(at <= *due, "{machine:?} was due at {due:?} and reports at {at:?}");
                // A periodic record gives way to that of a change at the same instant.
                match changes.get_mut(&(machine.slot, at)) {
                    Some(owed) => *owed -= 1,
                    None => assert_eq!(at, *due, "{machine:?}"),
                }
                if at == *due {
                    *due = at + plan.telemetry_interval;
                }
            }
            _ => {}
        }
    }
    assert!(changes.values().all(|&owed| owed == 0), "one record for each change");
}

#[test]
fn an_idle_machine_is_silent_unless_asked() {
    let (plan, out) = a_busy_day(false);
    assert!(records(&plan, &out).iter().all(|record| record.code.is_some()));

    let (plan, out) = a_busy_day(true);
    let records = records(&plan, &out);
    let idle: Vec<_> = records.iter().filter(|record| record.code.is_none()).collect();
    assert!(idle.len() > 10_000);
    for record in &idle {
        let is = |name, value| record.values.get(name).is_none_or(|&found| found == value);
        assert!(is("numero_pezzi_completati", 0) && is("tempo_ciclo", 0) && is("velocita_rotazione", 0));
        assert!(is("stato_macchina", 1) && is("esiti_test_funzionali", 0b11111));
    }
    // The last machine of the last stage is idle for long.
    let alone = records.iter().filter(|record| record.machine.slot.0 == plan.machines_total() - 1);
    let before_work: Vec<_> = alone.take_while(|record| record.code.is_none()).map(|record| record.at).collect();
    assert!(before_work.len() > 100);
    assert!((1..).zip(&before_work).all(|(n, &at)| at == START + Span(n * 10_000)));
}
