//! One connection to a broker, without its socket: bytes in, bytes out.
//!
//! ```text
//!            ApiVersions 3, then 0          SaslHandshake        SaslAuthenticate
//!  new ────► Asking ──────────────► ──────► Mechanism ─────────► Proving ──┐
//!                │ no SASL                       ▲                          │
//!                ▼                               │ the session has aged     │
//!              Ready ────────────────────────────┘                          │
//!                ▲                                                          │
//!                └──────────────────────────────────────────────────────────┘
//!  any stage ── wrong frame, wrong correlation id, time-out, refusal ──► an error: the owner drops the connection
//! ```

mod handshake;

use super::decode;
use super::error::{Api, Expected, Failure};
use super::frame::Frames;
use super::sasl::Exchange;
use super::security::Sasl;
use super::settings::Settings;
use super::versions::Versions;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Request, StrBytes, encode_request_header_into_buffer};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// A request's number; no two of a client are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A broker's answer, not decoded yet.
#[derive(Clone, Debug)]
pub struct Answer {
    api: Api,
    version: i16,
    body: Bytes,
}

impl Answer {
    /// The version the request was sent in.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// Decodes the answer to a request of type `R`.
    ///
    /// # Errors
    /// [`Failure::Garbled`]
    pub fn decode<R: Request>(mut self) -> Result<R::Response, Failure> {
        if self.api.0 != R::KEY {
            return Err(garbled(self.api, &format_args!("taken for one to {}", Api(R::KEY))));
        }
        let key = ApiKey::try_from(R::KEY).map_err(|()| garbled(self.api, &"unknown request"))?;
        decode::check(key, self.version, &self.body).map_err(|error| garbled(self.api, &error))?;
        R::Response::decode(&mut self.body, self.version).map_err(|error| garbled(self.api, &error))
    }
}

/// A connection that has been made.
#[derive(Debug)]
pub struct Connection {
    stage: Stage,
    versions: Versions,
    client_id: StrBytes,
    sasl: Option<Sasl>,
    request_timeout: Duration,
    in_flight_max: usize,
    inbound: Frames,
    outbound: VecDeque<Bytes>,
    in_flight: VecDeque<InFlight>,
    answers: VecDeque<(Ticket, Answer)>,
    correlation_id: i32,
    session_ends: Option<Instant>,
    has_answered: bool,
    heard_at: Instant,
    muted_until: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    Asking,
    Mechanism,
    Proving(Exchange),
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    correlation_id: i32,
    /// `None` for the handshake's own.
    ticket: Option<Ticket>,
    api: Api,
    version: i16,
    deadline: Instant,
}

impl Connection {
    /// A connection whose socket has just been connected: it asks for the broker's versions.
    #[must_use]
    pub fn new(settings: &Settings, now: Instant) -> Self {
        let mut connection = Self {
            stage: Stage::Asking,
            versions: Versions::default(),
            client_id: StrBytes::from_string(settings.client_id.clone()),
            sasl: settings.security.sasl.clone(),
            request_timeout: settings.request_timeout,
            in_flight_max: settings.in_flight_max,
            inbound: Frames::new(settings.frame_bytes_max),
            outbound: VecDeque::new(),
            in_flight: VecDeque::new(),
            answers: VecDeque::new(),
            correlation_id: 0,
            session_ends: None,
            has_answered: false,
            heard_at: now,
            muted_until: None,
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("mokasim"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        // Brokers before 2.4 answer version 3 with an error in version 0, and are asked again.
        connection.ask(&request, 3, now).unwrap_or_else(|error| log::error!("ApiVersions: {error}"));
        connection
    }

    /// Whether a request may be sent: the handshake is over, not too many are in flight, and the broker listens.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready) && self.in_flight.len() < self.in_flight_max && self.muted_until.is_none()
    }

    /// With an answer the broker said for how long it reads nothing more of this connection, to keep a quota (KIP-219). What is in
    /// flight is due so much later.
    pub fn mute(&mut self, throttle: Duration, now: Instant) {
        self.in_flight.iter_mut().for_each(|asked| asked.deadline += throttle);
        self.muted_until = Some(now + throttle);
    }

    /// Until when the broker reads nothing, while that lasts.
    #[must_use]
    pub const fn muted_until(&self) -> Option<Instant> {
        self.muted_until
    }

    /// Whether the handshake is over.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// Whether a request behind the handshake was answered: a listener may hang up on the first one.
    #[must_use]
    pub const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// When something last came.
    #[must_use]
    pub const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Since when an answer is due. A request's deadline is the request time-out behind that: one that the broker may let wait,
    /// as a fetch of what is not there yet, has a later one.
    #[must_use]
    pub fn due_since(&self) -> Option<Instant> {
        self.in_flight.iter().map(|asked| asked.deadline).min()?.checked_sub(self.request_timeout)
    }

    /// What the broker knows; nothing before the handshake is over.
    #[must_use]
    pub const fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Requests that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Sends a request in a version that [`Self::versions`] gave.
    ///
    /// # Errors
    /// A field is set that the version does not have: a mistake of the caller, nothing was sent.
    pub fn send<R: Request>(&mut self, ticket: Ticket, request: &R, version: i16, deadline: Instant) -> Result<(), Failure> {
        self.enqueue(Some(ticket), Api(R::KEY), version, deadline, [encoded(request, version)?])
    }

    /// Sends a request whose body was encoded by the caller, in pieces that are not copied.
    ///
    /// # Errors
    /// The request is longer than a frame can be.
    pub fn send_encoded(
        &mut self,
        ticket: Ticket,
        api: Api,
        version: i16,
        deadline: Instant,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Failure> {
        self.enqueue(Some(ticket), api, version, deadline, body)
    }

    /// Sends a request of the handshake.
    fn ask<R: Request>(&mut self, request: &R, version: i16, now: Instant) -> Result<(), Failure> {
        self.enqueue(None, Api(R::KEY), version, now + self.request_timeout, [encoded(request, version)?])
    }

    fn enqueue(
        &mut self,
        ticket: Option<Ticket>,
        api: Api,
        version: i16,
        deadline: Instant,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Failure> {
        let correlation_id = self.correlation_id;
        self.correlation_id = correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(api.0)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut head = BytesMut::with_capacity(64);
        head.put_i32(0);
        encode_request_header_into_buffer(&mut head, &header).map_err(|error| garbled(api, &error))?;
        let place = self.outbound.len();
        self.outbound.push_back(Bytes::new());
        self.outbound.extend(body.into_iter().filter(|piece| !piece.is_empty()));
        let length = head.len() - 4 + self.outbound.range(place..).map(Bytes::len).sum::<usize>();
        let Ok(length) = i32::try_from(length) else {
            self.outbound.truncate(place);
            return Err(garbled(api, &format_args!("a request of {length} bytes")));
        };
        head[..4].copy_from_slice(&length.to_be_bytes());
        self.outbound[place] = head.freeze();
        self.in_flight.push_back(InFlight { correlation_id, ticket, api, version, deadline });
        Ok(())
    }

    /// Fills `slices` with what is to be written, in order, and says how many were filled.
    pub fn outgoing<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        slices.iter_mut().zip(&self.outbound).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    /// So many bytes of [`Self::outgoing`] have been written.
    pub fn sent(&mut self, mut bytes: usize) {
        while let Some(piece) = self.outbound.front_mut() {
            if bytes < piece.len() {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.outbound.pop_front();
        }
    }

    /// Takes bytes that arrived, and does what they ask for.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<(), Failure> {
        self.heard_at = now;
        self.inbound.push(bytes);
        while let Some(frame) = self.inbound.next_frame()? {
            let (asked, answer) = self.match_answer(frame)?;
            match asked.ticket {
                Some(ticket) => {
                    self.has_answered = true;
                    self.answers.push_back((ticket, answer));
                }
                None => self.handshake(answer, now)?,
            }
        }
        Ok(())
    }

    fn match_answer(&mut self, mut frame: Bytes) -> Result<(InFlight, Answer), Failure> {
        let found = frame.first_chunk().map_or(-1, |id| i32::from_be_bytes(*id));
        let Some(asked) = self.in_flight.front().copied().filter(|asked| asked.correlation_id == found) else {
            let expected = self.in_flight.front().map(|asked| asked.correlation_id);
            return Err(Failure::Correlation { found, expected: Expected(expected) });
        };
        self.in_flight.pop_front();
        let api = asked.api;
        let key = ApiKey::try_from(api.0).map_err(|()| garbled(api, &"unknown request"))?;
        ResponseHeader::decode(&mut frame, key.response_header_version(asked.version))
            .map_err(|error| garbled(api, &error))?;
        Ok((asked, Answer { api, version: asked.version, body: frame }))
    }

    /// The oldest answer not yet taken.
    pub fn next_answer(&mut self) -> Option<(Ticket, Answer)> {
        self.answers.pop_front()
    }

    /// The requests that will not be answered, when the connection is dropped.
    pub fn abandoned(&self) -> impl Iterator<Item = Ticket> {
        self.in_flight.iter().filter_map(|asked| asked.ticket)
    }

    /// Lets time pass: time-outs, slices of key derivation, and authentication anew before the session's end (KIP-368).
    ///
    /// # Errors
    /// A request was not answered in time.
    pub fn poll(&mut self, now: Instant) -> Result<(), Failure> {
        self.muted_until = self.muted_until.filter(|until| *until > now);
        if let Some(late) = self.in_flight.iter().find(|asked| asked.deadline <= now) {
            return Err(Failure::TimedOut(late.api));
        }
        match &mut self.stage {
            Stage::Proving(exchange) => {
                let step = exchange.work();
                self.follow(step, now)
            }
            Stage::Ready if self.session_ends.is_some_and(|ends| ends <= now) => self.ask_mechanism(now),
            _ => Ok(()),
        }
    }

    /// When [`Self::poll`] is next of use.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let answer = self.in_flight.iter().map(|asked| asked.deadline).min();
        answer.into_iter().chain(self.session_ends).chain(self.muted_until).min()
    }

    /// Whether key derivation goes on: [`Self::poll`] is of use at once.
    #[must_use]
    pub fn is_working(&self) -> bool {
        matches!(&self.stage, Stage::Proving(exchange) if exchange.is_working())
    }
}

fn encoded<R: Request>(request: &R, version: i16) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).map_err(|error| garbled(Api(R::KEY), &error))?;
    Ok(body.freeze())
}

fn garbled(api: Api, reason: &dyn std::fmt::Display) -> Failure {
    Failure::Garbled { api, reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
