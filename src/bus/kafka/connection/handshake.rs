//! What is asked before the first request: versions, then SASL where it is configured.

use super::super::error::Failure;
use super::super::sasl::{Exchange, Step};
use super::super::versions::Versions;
use super::{Answer, Connection, Stage, garbled};
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use std::time::{Duration, Instant};

impl Connection {
    pub(super) fn handshake(&mut self, answer: Answer, now: Instant) -> Result<(), Failure> {
        match &mut self.stage {
            Stage::Asking => self.take_versions(answer, now),
            Stage::Mechanism => {
                let answer = answer.decode::<SaslHandshakeRequest>()?;
                match answer.error_code {
                    0 => self.prove(now),
                    _ => {
                        let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
                        Err(self.refused(&format!("not offered by the listener, which has [{}]", offered.join(", "))))
                    }
                }
            }
            Stage::Proving(exchange) => {
                let answer = answer.decode::<SaslAuthenticateRequest>()?;
                if answer.error_code != 0 {
                    let message = answer.error_message.unwrap_or_default();
                    return Err(self.refused(&format!("refused with code {}: {message}", answer.error_code)));
                }
                let step = exchange.answer(&answer.auth_bytes);
                let lifetime =
                    u64::try_from(answer.session_lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
                // Well before the end, as the Java client: what is in flight must come home first.
                self.session_ends = lifetime.and_then(|lifetime| now.checked_add(lifetime.mul_f64(0.85)));
                self.follow(step, now)
            }
            Stage::Ready => Ok(()),
        }
    }

    fn take_versions(&mut self, answer: Answer, now: Instant) -> Result<(), Failure> {
        const UNSUPPORTED_VERSION: i16 = 35;
        let code = answer.body.first_chunk().map_or(-1, |code| i16::from_be_bytes(*code));
        if code == UNSUPPORTED_VERSION && answer.version > 0 {
            return self.ask(&ApiVersionsRequest::default(), 0, now);
        }
        if code != 0 {
            return Err(garbled(answer.api, &format_args!("error code {code}")));
        }
        let answer = answer.decode::<ApiVersionsRequest>()?;
        self.versions = Versions::new(&answer);
        // A broker that this client cannot produce to is too old for all of it, and is told at the door.
        self.versions.highest::<ProduceRequest>()?;
        match self.sasl {
            Some(_) => self.ask_mechanism(now),
            None => {
                self.stage = Stage::Ready;
                Ok(())
            }
        }
    }

    pub(super) fn ask_mechanism(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(sasl) = &self.sasl else { return Ok(()) };
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism.as_str()));
        // Version 0 is followed by tokens without frames of their own; every broker from 1.0 on knows 1.
        let version =
            self.versions.highest_in::<SaslHandshakeRequest>(kafka_protocol::protocol::VersionRange { min: 1, max: 1 })?;
        self.session_ends = None;
        self.stage = Stage::Mechanism;
        self.ask(&request, version, now)
    }

    fn prove(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(sasl) = self.sasl.clone() else { return Ok(()) };
        let mut exchange = Exchange::new(sasl, nonce()?);
        let first = exchange.start();
        self.stage = Stage::Proving(exchange);
        self.follow(Ok(Step::Send(first)), now)
    }

    pub(super) fn follow(&mut self, step: Result<Step, String>, now: Instant) -> Result<(), Failure> {
        match step {
            Ok(Step::Working) => Ok(()),
            Ok(Step::Done) => {
                self.stage = Stage::Ready;
                Ok(())
            }
            Ok(Step::Send(bytes)) => {
                let version = self.versions.highest::<SaslAuthenticateRequest>()?;
                self.ask(&SaslAuthenticateRequest::default().with_auth_bytes(bytes.into()), version, now)
            }
            Err(message) => Err(self.refused(&message)),
        }
    }

    fn refused(&self, message: &str) -> Failure {
        let mechanism = self.sasl.as_ref().map_or("SASL", |sasl| sasl.mechanism.as_str());
        Failure::Authentication { mechanism, message: message.into() }
    }
}

/// 144 unpredictable bits in text.
fn nonce() -> Result<String, Failure> {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    let mut bytes = [0; 18];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Failure::Io("the operating system gives no random numbers".into()))?;
    Ok(STANDARD_NO_PAD.encode(bytes))
}
