//! The value of a telemetry record. The members' names and every fixed text are rendered once, as runs of bytes between the
//! values; a record is then little more than a row of copies.

use super::json::{number, rendered, string};
use super::time::{Calendar, LocalClock, UnknownZone};
use crate::factory::outputs::Machine;
use crate::factory::plan::{Choices, Plan, Signal, SignalKind, Site, Stage};
use crate::units::SimTime;

/// The members that telemetry of every machine begins with, in their order.
pub const TELEMETRY_FIELDS: [&str; 8] = [
    "codice_lotto",
    "luogo",
    "timestamp_locale",
    "timestamp_utc",
    "blocco_macchina",
    "motivo_blocco",
    "ultima_manutenzione",
    "macchina",
];

/// Writes telemetry values for the machines of one plan.
#[derive(Debug)]
pub(super) struct TelemetryWriter {
    now: Calendar,
    maintenance: Calendar,
    sites: Vec<SiteText>,
    stages: Vec<StageText>,
}

/// What one record says, besides the machine.
pub(super) struct Readings<'a> {
    pub(super) at: SimTime,
    pub(super) code: Option<&'a str>,
    pub(super) blocked: Option<u16>,
    pub(super) last_maintenance: SimTime,
    pub(super) values: &'a [i64],
}

impl TelemetryWriter {
    pub(super) fn new(plan: &Plan) -> Result<Self, UnknownZone> {
        let sites = plan.sites.iter().map(SiteText::new).collect::<Result<_, _>>()?;
        Ok(Self {
            now: Calendar::new(),
            maintenance: Calendar::new(),
            sites,
            stages: plan.stages.iter().map(StageText::new).collect(),
        })
    }

    /// Appends the JSON object.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, machine: Machine, readings: &Readings<'_>) {
        let site = &mut self.sites[usize::from(machine.site.0)];
        let stage = &self.stages[usize::from(machine.stage.0)];
        out.extend_from_slice(br#"{"codice_lotto":"#);
        match readings.code {
            Some(code) => string(out, code),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(&site.before_local_time);
        site.clock.write(out, readings.at);
        out.extend_from_slice(br#"","timestamp_utc":""#);
        self.now.write_utc(out, readings.at);
        match readings.blocked {
            Some(reason) => {
                out.extend_from_slice(br#"","blocco_macchina":true,"motivo_blocco":"#);
                out.extend_from_slice(&stage.reasons[usize::from(reason)]);
            }
            None => out.extend_from_slice(br#"","blocco_macchina":false,"motivo_blocco":null"#),
        }
        out.extend_from_slice(br#","ultima_manutenzione":""#);
        self.maintenance.write_utc(out, readings.last_maintenance);
        out.extend_from_slice(&stage.after_maintenance);
        for (signal, value) in stage.signals.iter().zip(readings.values) {
            out.extend_from_slice(&signal.before_value);
            signal.rendering.write(out, *value);
        }
        out.push(b'}');
    }
}

#[derive(Debug)]
struct SiteText {
    /// `,"luogo":"Italia","timestamp_locale":"`
    before_local_time: Vec<u8>,
    clock: LocalClock,
}

impl SiteText {
    fn new(site: &Site) -> Result<Self, UnknownZone> {
        let mut before_local_time = br#","luogo":"#.to_vec();
        string(&mut before_local_time, &site.name);
        before_local_time.extend_from_slice(br#","timestamp_locale":""#);
        Ok(Self { before_local_time, clock: LocalClock::new(&site.timezone)? })
    }
}

#[derive(Debug)]
struct StageText {
    /// `","macchina":"Fresa CNC"`
    after_maintenance: Vec<u8>,
    /// Block reasons as JSON strings.
    reasons: Vec<Box<[u8]>>,
    signals: Vec<SignalText>,
}

impl StageText {
    fn new(stage: &Stage) -> Self {
        let mut after_maintenance = br#"","macchina":"#.to_vec();
        string(&mut after_maintenance, &stage.label);
        let reasons = stage.block_reasons.iter().map(|row| rendered(&row.reason)).collect();
        Self { after_maintenance, reasons, signals: stage.signals.iter().map(SignalText::new).collect() }
    }
}

#[derive(Debug)]
struct SignalText {
    /// `,"vibrazione":`
    before_value: Vec<u8>,
    rendering: Rendering,
}

/// How a signal's `i64` is read. Texts are JSON strings.
#[derive(Debug)]
enum Rendering {
    Number { decimals: u8 },
    Choice(Vec<Box<[u8]>>),
    List(Vec<Box<[u8]>>),
    Passes(Vec<Box<[u8]>>),
}

impl SignalText {
    fn new(signal: &Signal) -> Self {
        let mut before_value = vec![b','];
        string(&mut before_value, &signal.name);
        before_value.push(b':');
        let texts = |choices: &Choices| choices.choices.iter().map(|choice| rendered(&choice.value)).collect();
        let rendering = match &signal.kind {
            SignalKind::Number(level) => Rendering::Number { decimals: level.decimals },
            SignalKind::CycleTime { decimals } => Rendering::Number { decimals: *decimals },
            SignalKind::Integer(_) | SignalKind::Pieces => Rendering::Number { decimals: 0 },
            SignalKind::Choice(choices) => Rendering::Choice(texts(choices)),
            SignalKind::List(choices) => Rendering::List(texts(choices)),
            SignalKind::Passes { passes, .. } => Rendering::Passes(passes.iter().map(|pass| rendered(&pass.name)).collect()),
        };
        Self { before_value, rendering }
    }
}

impl Rendering {
    fn write(&self, out: &mut Vec<u8>, value: i64) {
        match self {
            Self::Number { decimals } => number(out, value, *decimals),
            Self::Choice(texts) => out.extend_from_slice(&texts[value as usize]),
            Self::List(texts) => {
                out.push(b'[');
                let chosen = texts.iter().enumerate().filter(|(bit, _)| value >> bit & 1 == 1);
                for (n, (_, text)) in chosen.enumerate() {
                    comma_after_first(out, n);
                    out.extend_from_slice(text);
                }
                out.push(b']');
            }
            Self::Passes(names) => {
                out.push(b'{');
                for (bit, name) in names.iter().enumerate() {
                    comma_after_first(out, bit);
                    out.extend_from_slice(name);
                    out.extend_from_slice(if value >> bit & 1 == 1 { b":true" } else { b":false" });
                }
                out.push(b'}');
            }
        }
    }
}

fn comma_after_first(out: &mut Vec<u8>, n: usize) {
    if n > 0 {
        out.push(b',');
    }
}
