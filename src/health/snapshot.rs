//! What an observer sees of a running factory: a copy, sent over a channel once a tick, never the live state.

/// A tick's worth of figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Seconds since the program started.
    pub uptime_seconds: f64,
    /// The broker's address, or `spool:DIR`.
    pub kafka_broker: String,
    /// Root of every draw of this run.
    pub seed: u64,
    /// This run's id.
    pub run_id: String,
    /// Simulated seconds a wall second; `None` for as fast as possible.
    pub speed: Option<f64>,
    /// The simulated instant, ms since 1970.
    pub simulated_ms: i64,
    /// Whether records leave and orders arrive.
    pub connected: bool,
    /// What is wrong with the bus, where more is known than that it is not connected.
    pub trouble: Option<crate::bus::Trouble>,
    /// The factory's counts.
    pub factory: crate::factory::Counts,
    /// Orders accepted.
    pub orders_accepted: u64,
    /// Orders rejected.
    pub orders_rejected: u64,
    /// Orders delivered again and skipped.
    pub orders_skipped: u64,
    /// Orders for plants that other instances play.
    pub orders_elsewhere: u64,
    /// Whether intake waits for room.
    pub intake_paused: bool,
    /// Orders not yet read.
    pub consumer_lag: Option<u64>,
    /// Records not yet acknowledged.
    pub outbox_records: u64,
    /// Bytes they take.
    pub outbox_bytes: u64,
    /// Records acknowledged.
    pub records_acknowledged: u64,
    /// Telemetry dropped.
    pub records_dropped: u64,
    /// Records that the broker will never take.
    pub records_refused: u64,
    /// Bus failures.
    pub bus_errors: u64,
    /// External API: sent, failed for good, dropped because the queue was full.
    pub api: Option<ApiCounts>,
    /// Ticks since the start.
    pub ticks: u64,
    /// How late ticks began: `(upper bound in microseconds, ticks at most that late)`, cumulative, the last bound `u64::MAX`.
    pub tick_lateness: Vec<(u64, u64)>,
    /// Sum of all lateness, microseconds.
    pub tick_lateness_sum_us: u64,
}

/// Counters of the external API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiCounts {
    /// Answered with success.
    pub sent: u64,
    /// Given up after every retry.
    pub failed: u64,
    /// Dropped, oldest first, because the queue was full.
    pub dropped: u64,
    /// Waiting.
    pub queued: u64,
}
