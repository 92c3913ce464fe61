//! The sockets: who is let in, who is served, who has to go.

use super::Published;
use super::connection::{Connection, Step};
use super::http::{Request, Response, Status};
use super::limiter::Limiter;
use super::pages::{self, View};
use crate::clock;
use crossbeam_channel::Receiver;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Connections open at one time. When they are all taken, the client that holds most of them loses its oldest.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Connections accepted before those that are open get their turn: few enough that one is served before the next ones can
/// push it out.
const ACCEPTS_PER_TURN: usize = 16;

/// Rest after an `accept` that failed for want of descriptors or memory while there was nothing to give up for it; also how
/// long a connection is safe from being given up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

const LISTENER: Token = Token(CONNECTIONS_MAX);
const STOP: Token = Token(CONNECTIONS_MAX + 1);

/// The server, all of it owned by its thread.
#[derive(Debug)]
pub(super) struct Server {
    poll: Poll,
    listener: TcpListener,
    /// A connection's place is also its token.
    connections: [Option<Connection>; CONNECTIONS_MAX],
    limiter: Limiter,
    latest: Published,
    published: Receiver<Published>,
    accepting: Accepting,
    /// Clients were refused since the last time that none was waiting.
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// No client is waiting.
    Idle,
    /// A client is waiting.
    Ready,
    /// The operating system refuses; at this instant it is asked whether a client is waiting.
    Refused(Instant),
}

impl Server {
    /// Listens on `address`. Also returns what stops the server and where it listens in fact.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn bind(
        address: SocketAddr,
        requests_per_second: Arc<AtomicU32>,
        first: Published,
        published: Receiver<Published>,
    ) -> io::Result<(Self, Waker, SocketAddr)> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let server = Self {
            poll,
            listener,
            connections: [const { None }; CONNECTIONS_MAX],
            limiter: Limiter::new(requests_per_second),
            latest: first,
            published,
            accepting: Accepting::Idle,
            refused: false,
        };
        Ok((server, waker, address))
    }

    /// Serves until the waker is woken.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(CONNECTIONS_MAX + 2);
        loop {
            match self.poll.poll(&mut events, self.timeout(clock::now())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error!("health: cannot wait for clients, /health is gone: {error}");
                    return;
                }
            }
            for event in &events {
                match event.token() {
                    STOP => return,
                    LISTENER => self.accepting = Accepting::Ready,
                    Token(place) => {
                        if let Some(connection) = &mut self.connections[place] {
                            connection.ready = true;
                        }
                    }
                }
            }
            let now = clock::now();
            self.expire(now);
            self.accept(now);
            self.serve(now);
        }
    }

    /// How long there is nothing to do unless a socket says so; `None` with no client at all.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let accept_at = match self.accepting {
            Accepting::Idle => None,
            Accepting::Ready => Some(now),
            Accepting::Refused(until) => Some(until),
        };
        let connections = self.connections.iter().flatten();
        let dues = connections.map(|connection| if connection.ready { now } else { connection.deadline });
        dues.chain(accept_at).min().map(|due| due.saturating_duration_since(now))
    }

    fn expire(&mut self, now: Instant) {
        for place in &mut self.connections {
            if place.as_ref().is_some_and(|connection| connection.deadline <= now) {
                *place = None;
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        match self.accepting {
            Accepting::Ready => {}
            Accepting::Refused(until) if until <= now => {
                // To be registered anew brings an event if a client is waiting.
                let asked = self.poll.registry().reregister(&mut self.listener, LISTENER, Interest::READABLE);
                self.accepting = if asked.is_ok() { Accepting::Idle } else { Accepting::Refused(now + ACCEPT_PAUSE) };
                return;
            }
            Accepting::Idle | Accepting::Refused(_) => return,
        }
        for accepted in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer.ip(), now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting = Accepting::Idle;
                    if std::mem::take(&mut self.refused) {
                        log::info!("health: accepting connections again");
                    }
                    return;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    self.make_room(accepted, &error, now);
                    return;
                }
            }
        }
    }

    /// After an `accept` that failed, mostly because no descriptor is left: gives up a connection for the client that waits.
    fn make_room(&mut self, accepted: usize, error: &io::Error, now: Instant) {
        if accepted > 0 {
            // Without a descriptor it fails even if no client is left waiting.
            self.accepting = Accepting::Refused(now);
            return;
        }
        let victim =
            self.victim().and_then(|place| self.connections[place].take_if(|victim| victim.age(now) >= ACCEPT_PAUSE));
        if victim.is_none() {
            self.accepting = Accepting::Refused(now + ACCEPT_PAUSE);
            if !std::mem::replace(&mut self.refused, true) {
                log::warn!("health: cannot accept connections: {error}");
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, client: IpAddr, now: Instant) {
        let free = self.connections.iter().position(Option::is_none);
        let Some(place) = free.or_else(|| self.victim()) else { return };
        let mut connection = Connection::new(stream, client, now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(connection.stream(), Token(place), interest);
        self.connections[place] = registered.is_ok().then_some(connection);
    }

    /// Of the client that holds most connections, the one nearest to its deadline; `None` when there is none.
    fn victim(&self) -> Option<usize> {
        let open = || self.connections.iter().enumerate().filter_map(|(place, open)| Some((place, open.as_ref()?)));
        let held_by = |client| open().filter(|(_, connection)| connection.client == client).count();
        open()
            .max_by_key(|(_, connection)| (held_by(connection.client), Reverse(connection.deadline)))
            .map(|(place, _)| place)
    }

    /// Gives every connection that is ready one step.
    fn serve(&mut self, now: Instant) {
        let Self { connections, limiter, latest, published, .. } = self;
        for place in connections {
            let Some(connection) = place.as_mut().filter(|connection| connection.ready) else { continue };
            let date = utc(clock::wall_ms());
            let client = connection.client;
            let step = connection.step(now, date, |request| {
                if let Ok(newer) = published.try_recv() {
                    *latest = newer;
                }
                let tick_age = now.saturating_duration_since(latest.at);
                answer(request, client, limiter, now, &View { snapshot: &latest.snapshot, tick_age, now: date })
            });
            match step {
                Step::Again => {}
                Step::Wait => connection.ready = false,
                Step::Close => *place = None,
            }
        }
    }
}

fn answer(request: &Request, client: IpAddr, limiter: &mut Limiter, now: Instant, view: &View<'_>) -> Response {
    match limiter.take(client, now) {
        Ok(()) => pages::answer(request, view),
        Err(wait) => {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            Response::error(Status::TOO_MANY_REQUESTS, "too many requests").with("Retry-After", seconds.to_string())
        }
    }
}

fn utc(wall_ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(wall_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
