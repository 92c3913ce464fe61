//! What an error code of Produce asks for, as the Java client takes it.

use super::super::told::may_pass;

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the log of every in-sync replica.
    Acknowledged,
    /// It is sent again.
    Retry,
    /// It is sent again, once metadata has been asked for.
    Refresh,
    /// The broker's sequence numbers are not ours: retried when batches before it are to be retried, else cut off.
    Sequence,
    /// The producer's identity is of no more use.
    Identity,
    /// It is sent again in two halves, or can never be taken where it is a single record.
    TooLarge,
    /// It can never be taken.
    Refused,
}

impl Verdict {
    /// What `code` asks for. Codes that are not known are retried: no record is given up on a guess.
    pub(super) const fn of(code: i16) -> Self {
        match code {
            // NONE, and DUPLICATE_SEQUENCE_NUMBER: it had been taken before.
            0 | 46 => Self::Acknowledged,
            // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE, NETWORK_EXCEPTION,
            // KAFKA_STORAGE_ERROR, LISTENER_NOT_FOUND, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, UNKNOWN_TOPIC_ID,
            // INCONSISTENT_TOPIC_ID
            3 | 5 | 6 | 9 | 13 | 56 | 72 | 74 | 75 | 100 | 103 => Self::Refresh,
            // OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID
            45 | 59 => Self::Sequence,
            // INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED
            47 | 49 | 90 => Self::Identity,
            // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
            10 | 18 => Self::TooLarge,
            // INVALID_TOPIC_EXCEPTION, UNSUPPORTED_FOR_MESSAGE_FORMAT, POLICY_VIOLATION, UNSUPPORTED_COMPRESSION_TYPE,
            // INVALID_RECORD
            17 | 43 | 44 | 76 | 87 => Self::Refused,
            // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS, CORRUPT_MESSAGE, …; also what an operator can still mend, as authorization,
            // and INVALID_TIMESTAMP, which time mends when a simulated clock runs ahead.
            _ => Self::Retry,
        }
    }
}

/// Whether time alone does not mend what `code` says: an operator must, or the record is at fault.
pub(super) fn is_lasting(code: i16) -> bool {
    !may_pass(code) && matches!(Verdict::of(code), Verdict::Retry | Verdict::Refused | Verdict::TooLarge)
}
