//! What the factory says happened, in simulated-time order: plain values, not yet bytes.

use crate::units::{Priority, SimTime, SiteId, SlotId, Span, StageId};

/// A buffer of outputs that the caller owns and clears; its memory is used again.
#[derive(Debug, Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    values: Vec<i64>,
    texts: String,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// When, exactly: not the tick that found it.
    pub at: SimTime,
    /// What.
    pub what: What,
}

/// A text in [`Outputs`], read with [`Outputs::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    start: u32,
    len: u32,
}

/// A run of values in [`Outputs`], read with [`Outputs::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    start: u32,
    len: u32,
}

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its slot, unique in the factory.
    pub slot: SlotId,
    /// Where it stands.
    pub site: SiteId,
    /// What it does.
    pub stage: StageId,
    /// Its number within site and stage, from 1.
    pub number: u32,
}

/// The kinds of output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// A machine's readings.
    Telemetry {
        /// Whose.
        machine: Machine,
        /// Counts the machine's telemetry records from 1, without a gap.
        seq: u64,
        /// The lot on it.
        code: Option<Text>,
        /// Index of the block reason in the stage's row while the machine is blocked.
        blocked: Option<u16>,
        /// Last maintenance.
        last_maintenance: SimTime,
        /// One value for each signal of the stage, read as its `SignalKind` says.
        values: Values,
    },
    /// An order was accepted.
    LotReceived {
        /// `codice_lotto`
        code: Text,
        /// `cliente`
        client: Text,
        /// `quantita`
        quantity: u32,
        /// `location`
        site: SiteId,
        /// `priorita`
        priority: Priority,
    },
    /// A machine took a lot.
    StageStarted {
        /// `codice_lotto`
        code: Text,
        /// The machine.
        machine: Machine,
        /// Work ahead, without blocks.
        processing: Span,
    },
    /// A machine finished a lot.
    StageCompleted {
        /// `codice_lotto`
        code: Text,
        /// The machine.
        machine: Machine,
        /// Work and blocks.
        duration: Span,
    },
    /// A machine stopped in the middle of a lot.
    MachineBlocked {
        /// The machine.
        machine: Machine,
        /// `codice_lotto`
        code: Text,
        /// Index of the reason in the stage's row.
        reason: u16,
    },
    /// It went on.
    MachineUnblocked {
        /// The machine.
        machine: Machine,
        /// `codice_lotto`
        code: Text,
        /// How long it stood.
        blocked: Span,
    },
    /// A lot left the last stage.
    LotCompleted {
        /// `codice_lotto`
        code: Text,
        /// `location`
        site: SiteId,
        /// `quantita`
        quantity: u32,
        /// From acceptance to now.
        total: Span,
        /// Of it, waiting for machines.
        queued: Span,
        /// Milliseconds on the machines of each stage, blocks included, in stage order.
        stages: Values,
    },
}

impl Outputs {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the outputs, keeps the memory.
    pub fn clear(&mut self) {
        self.outputs.clear();
        self.values.clear();
        self.texts.clear();
    }

    /// How many outputs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The outputs, earliest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Output> {
        self.outputs.iter()
    }

    /// A text of one of these outputs.
    #[must_use]
    pub fn text(&self, text: Text) -> &str {
        let start = text.start as usize;
        &self.texts[start..start + text.len as usize]
    }

    /// The values of one of these outputs.
    #[must_use]
    pub fn values(&self, values: Values) -> &[i64] {
        let start = values.start as usize;
        &self.values[start..start + values.len as usize]
    }

    /// Adds an output. Tests and encoders may build outputs of their own.
    pub fn push(&mut self, at: SimTime, what: What) {
        self.outputs.push(Output { at, what });
    }

    /// Copies a text in, for the output that is pushed next.
    pub fn push_text(&mut self, text: &str) -> Text {
        let start = self.texts.len() as u32;
        self.texts.push_str(text);
        Text { start, len: text.len() as u32 }
    }

    /// Copies values in, for the output that is pushed next.
    pub fn push_values(&mut self, values: impl IntoIterator<Item = i64>) -> Values {
        let start = self.values.len() as u32;
        self.values.extend(values);
        Values { start, len: self.values.len() as u32 - start }
    }
}
