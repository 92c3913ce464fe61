//! A network whose time is invented, and whose connections are cut at a given byte.

use super::serve::ABSENT;
use super::{Broker, Session};
use mokasim::bus::kafka::cluster::Cluster;
use mokasim::bus::kafka::error::Failure;
use mokasim::bus::kafka::link::Target;
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    ToBroker,
    /// From the broker.
    ToClient,
}

/// One client, one broker, and what is between them.
pub(crate) struct Sim {
    /// Invented; it begins at the real one.
    pub(crate) now: Instant,
    /// The client's.
    pub(crate) cluster: Cluster,
    /// Its only broker.
    pub(crate) broker: Broker,
    /// Bytes that went each way so far, over all connections.
    pub(crate) bytes: [u64; 2],
    /// At which of those bytes the connection that carries it breaks; the next one first.
    pub(crate) cuts: VecDeque<(Way, u64)>,
    /// From when on, and until when, no connection is to be had: time since the beginning.
    pub(crate) down: Option<(Duration, Duration)>,
    wires: BTreeMap<Target, Wire>,
    random: Xoshiro256PlusPlus,
    begun: Instant,
}

#[derive(Default)]
struct Wire {
    generation: u64,
    session: Session,
    to_client: VecDeque<(Instant, Vec<u8>, bool)>,
}

impl Sim {
    /// A client that knows the broker's address. `seed` is for the sizes of the pieces that bytes arrive in.
    pub(crate) fn new(broker: Broker, seed: u64) -> Self {
        let now = clock::now();
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let cluster = Cluster::new(settings(&broker), now);
        let (bytes, cuts, wires) = ([0; 2], VecDeque::new(), BTreeMap::new());
        Self { now, cluster, broker, bytes, cuts, down: None, wires, random, begun: now }
    }

    /// A new client, as after a crash: the broker keeps what it has.
    pub(crate) fn restart(&mut self) {
        self.cluster = Cluster::new(settings(&self.broker), self.now);
        self.wires.clear();
    }

    /// Invented time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.begun
    }

    /// Lets bytes arrive, then `client` poll, and time pass: to the next event, at most until `deadline` of the client.
    pub(crate) fn turn(&mut self, client: impl FnOnce(&mut Cluster, Instant) -> Option<Instant>) {
        self.cluster.poll(self.now);
        let deadline = client(&mut self.cluster, self.now);
        let is_down = self.down.is_some_and(|(from, until)| (from..until).contains(&self.elapsed()));
        if is_down {
            let refused = Failure::Io("refused".into());
            std::mem::take(&mut self.wires).into_keys().for_each(|target| self.cluster.fail(target, &refused, self.now));
        }
        while let Some((target, _, generation)) = self.cluster.to_open(self.now) {
            if is_down || target.broker == ABSENT {
                self.cluster.fail(target, &Failure::Io("refused".into()), self.now);
                continue;
            }
            self.cluster.connected(target, self.now);
            self.wires.insert(target, Wire { generation, ..Wire::default() });
        }
        let targets: Vec<Target> = self.wires.keys().copied().collect();
        let mut moved = false;
        for target in targets {
            moved |= self.carry(target);
        }
        if moved {
            self.now += Duration::from_micros(100);
            return;
        }
        let replies = self.wires.values().filter_map(|wire| wire.to_client.front().map(|(at, ..)| *at));
        let next = replies.chain(self.cluster.deadline(self.now)).chain(deadline).filter(|at| *at > self.now).min();
        self.now = next.map_or(self.now + Duration::from_millis(10), |next| next.min(self.now + Duration::from_millis(200)));
    }

    /// Moves what there is to move on one connection.
    fn carry(&mut self, target: Target) -> bool {
        let Some(mut wire) = self.wires.remove(&target) else { return false };
        if !self.cluster.is_current(target, wire.generation) {
            return true;
        }
        let Some((to_broker, broken)) = self.take_outgoing(target) else { return true };
        let mut moved = !to_broker.is_empty();
        for reply in self.broker.receive(&mut wire.session, &to_broker) {
            let last = wire.to_client.back().map_or(self.now, |(at, ..)| *at);
            wire.to_client.push_back((last.max(self.now + reply.after), reply.bytes, reply.close));
        }
        if broken {
            self.hang_up(target, &Failure::Io("cut on the way to the broker".into()));
            return true;
        }
        while wire.to_client.front().is_some_and(|(at, ..)| *at <= self.now) {
            let Some((_, bytes, close)) = wire.to_client.pop_front() else { break };
            moved = true;
            let (allowed, broken) = self.allow(Way::ToClient, bytes.len());
            if let Err(failure) = self.arrive(target, &bytes[..allowed]) {
                self.cluster.fail(target, &failure, self.now);
                return true;
            }
            if broken || close {
                self.hang_up(target, &Failure::Closed { in_handshake: false });
                return true;
            }
        }
        self.wires.insert(target, wire);
        moved
    }

    /// A connection breaks; where the broker has restarted, all of them do.
    fn hang_up(&mut self, target: Target, failure: &Failure) {
        self.cluster.fail(target, failure, self.now);
        if self.broker.hang_up() {
            std::mem::take(&mut self.wires).into_keys().for_each(|target| self.cluster.fail(target, failure, self.now));
        }
    }

    /// What the client wrote, up to the cut, if there is one within.
    fn take_outgoing(&mut self, target: Target) -> Option<(Vec<u8>, bool)> {
        let connection = self.cluster.connection_mut(target)?;
        let mut slices = [IoSlice::new(&[]); 64];
        let count = connection.outgoing(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        connection.sent(bytes.len());
        let (allowed, broken) = self.allow(Way::ToBroker, bytes.len());
        Some((bytes[..allowed].to_vec(), broken))
    }

    /// How many of `length` bytes come through, and whether the connection breaks behind them.
    fn allow(&mut self, way: Way, length: usize) -> (usize, bool) {
        let passed = &mut self.bytes[way as usize];
        let cut = self.cuts.front().filter(|(cut_way, at)| *cut_way == way && *at < *passed + length as u64).copied();
        let Some((_, at)) = cut else {
            *passed += length as u64;
            return (length, false);
        };
        self.cuts.pop_front();
        let allowed = at.saturating_sub(*passed) as usize;
        *passed += allowed as u64;
        (allowed, true)
    }

    fn arrive(&mut self, target: Target, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let piece = self.random.random_range(1..=bytes.len());
            if let Some(connection) = self.cluster.connection_mut(target) {
                connection.received(&bytes[..piece], self.now)?;
            }
            bytes = &bytes[piece..];
        }
        Ok(())
    }
}

/// Settings of a client of this broker.
pub(crate) fn settings(broker: &Broker) -> Settings {
    let address = format!("{}:{}", broker.address.0, broker.address.1);
    Settings::new(vec![address.parse().unwrap()])
}
