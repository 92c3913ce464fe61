//! Outputs to records. A record is written into buffers that are used again: once they have grown, it costs no allocation.

use super::json::{Object, string};
use super::telemetry::{Readings, TelemetryWriter};
use super::time::{UnknownZone, rfc3339_utc};
use super::{Record, Rejection, TopicId, Topics};
use crate::factory::outputs::{Machine, Output, Outputs, What};
use crate::factory::plan::{Plan, Site, Stage};
use crate::units::{SimTime, Span};
use std::fmt::Write as _;

/// How much of its payload a rejected-order record repeats, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 4096;

/// The longest character of UTF-8, in bytes.
const CHAR_BYTES_MAX: usize = 4;

/// The id of a run, from the fingerprint of its seed, start and configuration: 8 hexadecimal digits.
#[must_use]
pub fn run_id(fingerprint: u64) -> String {
    format!("{:08x}", fingerprint >> 32)
}

/// Turns outputs into records.
#[derive(Debug)]
pub struct Encoder {
    run_id: Box<str>,
    orders: Box<str>,
    events: TopicId,
    rejected: TopicId,
    sites: Vec<Box<str>>,
    stages: Vec<StageNames>,
    telemetry: TelemetryWriter,
    machine_id: String,
    rejected_key: String,
    seq: String,
    value: Vec<u8>,
}

/// The names a stage has in events.
#[derive(Debug)]
struct StageNames {
    /// What machine ids begin with, by site: `fresa_cnc-Italia-`.
    machines: Vec<String>,
    /// `fresa_cnc.started`
    started: String,
    /// `fresa_cnc.completed`
    completed: String,
    /// `fresa_cnc_minutes`
    minutes: String,
    reasons: Vec<Box<str>>,
}

impl StageNames {
    fn new(stage: &Stage, sites: &[Site]) -> Self {
        Self {
            machines: sites.iter().map(|site| format!("{}-{}-", stage.machine, site.name)).collect(),
            started: format!("{}.started", stage.name),
            completed: format!("{}.completed", stage.name),
            minutes: format!("{}_minutes", stage.name),
            reasons: stage.block_reasons.iter().map(|row| row.reason.clone()).collect(),
        }
    }
}

/// A record whose parts stand in an [`Encoder`] and in the [`Outputs`] it came from.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    topic: TopicId,
    key: &'a str,
    timestamp: SimTime,
    headers: [(&'a str, &'a [u8]); 3],
    headers_len: usize,
    value: &'a [u8],
}

impl Encoded<'_> {
    /// The record.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            topic: self.topic,
            key: self.key.as_bytes(),
            timestamp: self.timestamp,
            headers: &self.headers[..self.headers_len],
            value: self.value,
        }
    }
}

impl Encoder {
    /// An encoder for the outputs of a factory that runs on `plan`. Every record carries `run_id` as a header.
    ///
    /// # Errors
    /// A site's zone is not in the time-zone database.
    pub fn new(plan: &Plan, topics: &Topics, run_id: &str) -> Result<Self, UnknownZone> {
        Ok(Self {
            run_id: run_id.into(),
            orders: topics.orders.as_str().into(),
            events: topics.events_id(),
            rejected: topics.rejected_id(),
            sites: plan.sites.iter().map(|site| site.name.clone()).collect(),
            stages: plan.stages.iter().map(|stage| StageNames::new(stage, &plan.sites)).collect(),
            telemetry: TelemetryWriter::new(plan)?,
            machine_id: String::new(),
            rejected_key: String::new(),
            seq: String::new(),
            value: Vec::new(),
        })
    }

    /// The record of an output; `outputs` is the buffer the output is from. A machine's own records have its id as key, a
    /// lot's events its code.
    pub fn encode<'a>(&'a mut self, output: &Output, outputs: &'a Outputs) -> Encoded<'a> {
        self.value.clear();
        let at = output.at;
        match output.what {
            What::Telemetry { machine, seq, code, blocked, last_maintenance, values } => {
                let code = code.map(|code| outputs.text(code));
                let readings = Readings { at, code, blocked, last_maintenance, values: outputs.values(values) };
                self.telemetry.write(&mut self.value, machine, &readings);
                self.write_machine_id(machine);
                self.seq.clear();
                self.seq.push_str(itoa::Buffer::new().format(seq));
                self.encoded(TopicId(machine.stage.0), at, &self.machine_id, Some(&self.machine_id), Some(&self.seq))
            }
            What::LotReceived { code, client, quantity, site, priority } => {
                let code = outputs.text(code);
                let data = open_event(&mut self.value, "lot.received")
                    .string("codice_lotto", code)
                    .string("cliente", outputs.text(client))
                    .number("quantita", quantity.into(), 0)
                    .string("location", &self.sites[usize::from(site.0)])
                    .string("priorita", priority.as_str());
                close_event(data, at);
                self.encoded(self.events, at, code, None, None)
            }
            What::StageStarted { code, machine, processing } => {
                let code = outputs.text(code);
                self.write_machine_id(machine);
                let data = open_event(&mut self.value, &self.stages[usize::from(machine.stage.0)].started)
                    .string("codice_lotto", code)
                    .string("machine_id", &self.machine_id)
                    .seconds("processing_time_seconds", processing);
                close_event(data, at);
                self.encoded(self.events, at, code, Some(&self.machine_id), None)
            }
            What::StageCompleted { code, machine, duration } => {
                let code = outputs.text(code);
                self.write_machine_id(machine);
                let data = open_event(&mut self.value, &self.stages[usize::from(machine.stage.0)].completed)
                    .string("codice_lotto", code)
                    .string("machine_id", &self.machine_id)
                    .seconds("duration_seconds", duration);
                close_event(data, at);
                self.encoded(self.events, at, code, Some(&self.machine_id), None)
            }
            What::MachineBlocked { machine, code, reason } => {
                self.write_machine_id(machine);
                let reasons = &self.stages[usize::from(machine.stage.0)].reasons;
                let data = open_event(&mut self.value, "machine.blocked")
                    .string("machine_id", &self.machine_id)
                    .string("codice_lotto", outputs.text(code))
                    .string("reason", &reasons[usize::from(reason)]);
                close_event(data, at);
                self.encoded(self.events, at, &self.machine_id, Some(&self.machine_id), None)
            }
            What::MachineUnblocked { machine, code, blocked } => {
                self.write_machine_id(machine);
                let data = open_event(&mut self.value, "machine.unblocked")
                    .string("machine_id", &self.machine_id)
                    .string("codice_lotto", outputs.text(code))
                    .seconds("blocked_seconds", blocked);
                close_event(data, at);
                self.encoded(self.events, at, &self.machine_id, Some(&self.machine_id), None)
            }
            What::LotCompleted { code, site, quantity, total, queued, stages } => {
                let code = outputs.text(code);
                let data = open_event(&mut self.value, "lot.completed")
                    .string("codice_lotto", code)
                    .string("location", &self.sites[usize::from(site.0)])
                    .number("quantita", quantity.into(), 0)
                    .minutes("total_time_minutes", total)
                    .minutes("queue_minutes", queued);
                let times = self.stages.iter().zip(outputs.values(stages));
                let data = times.fold(data, |data, (stage, ms)| data.minutes(&stage.minutes, Span(*ms)));
                close_event(data, at);
                self.encoded(self.events, at, code, None, None)
            }
        }
    }

    /// The record that tells of a rejected order: which rule it breaks, where in the orders topic it stands, and the
    /// beginning of what it says. Its key is `partition-offset`.
    pub fn encode_rejected(
        &mut self,
        at: SimTime,
        rejection: &Rejection,
        (partition, offset): (i32, i64),
        payload: &[u8],
    ) -> Encoded<'_> {
        self.value.clear();
        let mut value = Object::open(&mut self.value).string("reason", &rejection.reason);
        match rejection.field {
            Some(field) => value = value.string("field", field),
            None => value.member("field").extend_from_slice(b"null"),
        }
        value = value
            .string("topic", &self.orders)
            .number("partition", partition.into(), 0)
            .number("offset", offset, 0)
            .string("payload", &payload_text(payload));
        timestamp(value.member("timestamp"), at);
        value.close();
        self.rejected_key.clear();
        let _ = write!(self.rejected_key, "{partition}-{offset}");
        self.encoded(self.rejected, at, &self.rejected_key, None, None)
    }

    /// Puts the machine's id, `fresa_cnc-Italia-1`, into its buffer.
    fn write_machine_id(&mut self, machine: Machine) {
        self.machine_id.clear();
        let stage = &self.stages[usize::from(machine.stage.0)];
        self.machine_id.push_str(&stage.machines[usize::from(machine.site.0)]);
        self.machine_id.push_str(itoa::Buffer::new().format(machine.number));
    }

    /// The record of the value in its buffer.
    fn encoded<'a>(
        &'a self,
        topic: TopicId,
        timestamp: SimTime,
        key: &'a str,
        machine_id: Option<&'a str>,
        seq: Option<&'a str>,
    ) -> Encoded<'a> {
        let mut headers: [(&str, &[u8]); 3] = [("", b""); 3];
        let present = [("machine_id", machine_id), ("seq", seq), ("run_id", Some(&*self.run_id))];
        let present = present.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
        let headers_len = headers.iter_mut().zip(present).map(|(slot, header)| *slot = header).count();
        Encoded { topic, key, timestamp, headers, headers_len, value: &self.value }
    }
}

/// Begins an event; its data's own members come next.
fn open_event<'a>(out: &'a mut Vec<u8>, event_type: &str) -> Object<'a> {
    out.extend_from_slice(br#"{"event_type":"#);
    string(out, event_type);
    out.extend_from_slice(br#","data":"#);
    Object::open(out)
}

/// Ends an event with the instant, inside its data and beside it.
fn close_event(mut data: Object<'_>, at: SimTime) {
    timestamp(data.member("timestamp"), at);
    let out = data.close();
    out.extend_from_slice(br#","timestamp":"#);
    timestamp(out, at);
    out.push(b'}');
}

/// Appends the instant as a JSON string.
fn timestamp(out: &mut Vec<u8>, at: SimTime) {
    out.push(b'"');
    out.extend_from_slice(&rfc3339_utc(at));
    out.push(b'"');
}

/// The payload as text, at most [`PAYLOAD_BYTES_MAX`] of it, cut between characters.
fn payload_text(payload: &[u8]) -> String {
    // What is cut in two here begins behind the cut below: making text of bytes never shortens them.
    let head = &payload[..payload.len().min(PAYLOAD_BYTES_MAX + CHAR_BYTES_MAX)];
    let mut text = String::from_utf8_lossy(head).into_owned();
    let end = (0..=PAYLOAD_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
