//! The client's side of SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677), one message at a time.
//!
//! The key derivation of SCRAM takes thousands of rounds; it is done in slices, so that a poll stays short.

use super::security::{Mechanism, Sasl};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Rounds a slice of key derivation takes: about a millisecond on a small machine.
const ROUNDS_A_SLICE: u32 = 512;
/// Fewer are refused, as by the Java client.
const ROUNDS_MIN: u32 = 4096;
/// More would be an attack on the client's time.
const ROUNDS_MAX: u32 = 1 << 20;

/// What an exchange wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and hand in the answer.
    Send(Vec<u8>),
    /// Call [`Exchange::work`] again.
    Working,
    /// The broker is satisfied, and so is the client.
    Done,
}

/// An authentication under way.
#[derive(Debug)]
pub struct Exchange {
    sasl: Sasl,
    state: State,
}

enum State {
    Start { nonce: String },
    PlainSent,
    FirstSent { nonce: String, first_bare: String },
    Deriving(Box<Derivation>),
    FinalSent { server_signature: Vec<u8> },
    Over,
}

struct Derivation {
    password: Keyed,
    round: Vec<u8>,
    salted: Vec<u8>,
    rounds_left: u32,
    final_bare: String,
    auth_message: String,
}

// Nothing of it may be shown.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl Exchange {
    /// An exchange that has said nothing yet; `nonce` must be unpredictable, printable and without commas.
    #[must_use]
    pub fn new(sasl: Sasl, nonce: String) -> Self {
        Self { sasl, state: State::Start { nonce } }
    }

    /// The first message.
    pub fn start(&mut self) -> Vec<u8> {
        let State::Start { nonce } = std::mem::replace(&mut self.state, State::Over) else { return Vec::new() };
        if self.sasl.mechanism == Mechanism::Plain {
            self.state = State::PlainSent;
            return format!("\0{}\0{}", self.sasl.username, self.sasl.password.0).into_bytes();
        }
        let name = self.sasl.username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        let first = format!("n,,{first_bare}").into_bytes();
        self.state = State::FirstSent { nonce, first_bare };
        first
    }

    /// Takes the broker's answer to what was sent last.
    ///
    /// # Errors
    /// The broker refused, or proved not to know the password itself: what is wrong, in words.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Step, String> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::PlainSent => Ok(Step::Done),
            State::FirstSent { nonce, first_bare } => self.server_first(bytes, &nonce, &first_bare),
            State::FinalSent { server_signature } => server_final(bytes, &server_signature),
            State::Start { .. } | State::Deriving(_) | State::Over => Err("an answer that was not asked for".into()),
        }
    }

    fn server_first(&mut self, bytes: &[u8], nonce: &str, first_bare: &str) -> Result<Step, String> {
        let server_first = std::str::from_utf8(bytes).map_err(|_| "the server's first message is no text")?;
        let field = |name: &str| server_first.split(',').find_map(|field| field.strip_prefix(name));
        let (Some(full_nonce), Some(salt), Some(rounds)) = (field("r="), field("s="), field("i=")) else {
            return Err("the server's first message lacks r, s or i".into());
        };
        if !full_nonce.starts_with(nonce) || full_nonce.len() == nonce.len() {
            return Err("the server's nonce does not extend the client's".into());
        }
        let salt = BASE64.decode(salt).map_err(|_| "the server's salt is not base64")?;
        let rounds: u32 = rounds.parse().map_err(|_| "the server's iteration count is no number")?;
        if !(ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds) {
            return Err(format!("{rounds} iterations asked for, expected {ROUNDS_MIN} to {ROUNDS_MAX}"));
        }
        let password = Keyed::new(self.sasl.mechanism, self.sasl.password.0.as_bytes())?;
        let round = password.sign(&[&salt, &1_u32.to_be_bytes()]);
        let final_bare = format!("c=biws,r={full_nonce}");
        let auth_message = format!("{first_bare},{server_first},{final_bare}");
        let salted = round.clone();
        let derivation = Derivation { password, round, salted, rounds_left: rounds - 1, final_bare, auth_message };
        self.state = State::Deriving(Box::new(derivation));
        Ok(Step::Working)
    }

    /// Whether [`Self::work`] has something to do.
    #[must_use]
    pub const fn is_working(&self) -> bool {
        matches!(self.state, State::Deriving(_))
    }

    /// Goes on with the key derivation, and sends the proof when it is done.
    ///
    /// # Errors
    /// Never for keys that [`Self::answer`] took.
    pub fn work(&mut self) -> Result<Step, String> {
        let State::Deriving(derivation) = &mut self.state else { return Ok(Step::Working) };
        for _ in 0..ROUNDS_A_SLICE.min(derivation.rounds_left) {
            derivation.round = derivation.password.sign(&[&derivation.round]);
            xor(&mut derivation.salted, &derivation.round);
        }
        derivation.rounds_left = derivation.rounds_left.saturating_sub(ROUNDS_A_SLICE);
        if derivation.rounds_left > 0 {
            return Ok(Step::Working);
        }
        let mechanism = self.sasl.mechanism;
        let salted = Keyed::new(mechanism, &derivation.salted)?;
        let mut proof = salted.sign(&[b"Client Key"]);
        let stored_key = Keyed::new(mechanism, &hash(mechanism, &proof))?;
        let message = derivation.auth_message.as_bytes();
        xor(&mut proof, &stored_key.sign(&[message]));
        let server_signature = Keyed::new(mechanism, &salted.sign(&[b"Server Key"]))?.sign(&[message]);
        let last = format!("{},p={}", derivation.final_bare, BASE64.encode(proof));
        self.state = State::FinalSent { server_signature };
        Ok(Step::Send(last.into_bytes()))
    }
}

fn server_final(bytes: &[u8], server_signature: &[u8]) -> Result<Step, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the server's last message is no text")?;
    if let Some(error) = text.strip_prefix("e=") {
        return Err(error.into());
    }
    let verifier = text.strip_prefix("v=").and_then(|rest| rest.split(',').next());
    match verifier.and_then(|verifier| BASE64.decode(verifier).ok()) {
        Some(verifier) if verifier == server_signature => Ok(Step::Done),
        _ => Err("the server did not prove that it knows the password".into()),
    }
}

/// A keyed HMAC over the mechanism's hash.
enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    fn new(mechanism: Mechanism, key: &[u8]) -> Result<Self, String> {
        match mechanism {
            Mechanism::ScramSha512 => Hmac::new_from_slice(key).map(Self::Sha512),
            Mechanism::ScramSha256 | Mechanism::Plain => Hmac::new_from_slice(key).map(Self::Sha256),
        }
        .map_err(|error| error.to_string())
    }

    fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        fn run<M: Mac + Clone>(mac: &M, parts: &[&[u8]]) -> Vec<u8> {
            let mut mac = mac.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha256(mac) => run(mac, parts),
            Self::Sha512(mac) => run(mac, parts),
        }
    }
}

fn hash(mechanism: Mechanism, bytes: &[u8]) -> Vec<u8> {
    match mechanism {
        Mechanism::ScramSha512 => Sha512::digest(bytes).to_vec(),
        Mechanism::ScramSha256 | Mechanism::Plain => Sha256::digest(bytes).to_vec(),
    }
}

fn xor(into: &mut [u8], other: &[u8]) {
    into.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::kafka::security::Password;

    fn exchange(mechanism: Mechanism, username: &str, password: &str, nonce: &str) -> Exchange {
        let sasl = Sasl { mechanism, username: username.into(), password: Password(password.into()) };
        Exchange::new(sasl, nonce.into())
    }

    /// The example of RFC 7677, section 3.
    fn to_the_proof() -> (Exchange, String) {
        let mut exchange = exchange(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(exchange.start(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let mut step = exchange.answer(first);
        while step == Ok(Step::Working) {
            step = exchange.work();
        }
        let Ok(Step::Send(proof)) = step else { panic!("{step:?}") };
        (exchange, String::from_utf8(proof).unwrap())
    }

    #[test]
    fn scram_follows_the_example_of_rfc_7677() {
        let (mut exchange, proof) = to_the_proof();
        let expected =
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(proof, expected);
        assert_eq!(exchange.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(Step::Done));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        for last in [&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], b"v=", b"", b"\xff", b"e=other-error"] {
            let (mut exchange, _) = to_the_proof();
            assert!(exchange.answer(last).is_err(), "{last:?}");
        }
    }

    #[test]
    fn a_hostile_first_message_is_refused() {
        let cases = ["", "r=abc", "r=xyz1,s=AAAA,i=4096", "r=abc,s=AAAA,i=4096", "r=abc1,s=!,i=4096", "r=abc1,s=AAAA,i=1"];
        for first in cases.into_iter().chain(["r=abc1,s=AAAA,i=4294967295", "r=abc1,s=AAAA,i=x"]) {
            let mut exchange = exchange(Mechanism::ScramSha512, "u", "p", "abc");
            exchange.start();
            assert!(exchange.answer(first.as_bytes()).is_err(), "{first}");
        }
    }

    #[test]
    fn plain_sends_name_and_password_and_scram_escapes_the_name() {
        let mut plain = exchange(Mechanism::Plain, "user", "pencil", "");
        assert_eq!(plain.start(), b"\0user\0pencil");
        assert_eq!(plain.answer(b""), Ok(Step::Done));
        assert_eq!(exchange(Mechanism::ScramSha512, "a=b,c", "", "x").start(), b"n,,n=a=3Db=2Cc,r=x");
    }
}
