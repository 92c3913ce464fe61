//! How often one client may ask: a token bucket for each address, in a table of fixed size.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Clients remembered at one time; beyond it the one that has been quiet longest is forgotten.
const CLIENTS_MAX: usize = 256;

/// The clients' buckets.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Tokens a second, and the most a bucket holds; 0 counts as 1.
    requests_per_second: Arc<AtomicU32>,
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    client: IpAddr,
    tokens: f64,
    filled_at: Instant,
}

impl Limiter {
    /// Every client may ask `requests_per_second` times a second, and as often at once.
    pub(super) fn new(requests_per_second: Arc<AtomicU32>) -> Self {
        Self { requests_per_second, buckets: Vec::with_capacity(CLIENTS_MAX) }
    }

    /// Takes one request's token.
    ///
    /// # Errors
    /// How long the client has to wait for the next one.
    pub(super) fn take(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let rate = self.rate();
        let bucket = self.bucket(network_of(client), now);
        let elapsed = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * rate).min(rate);
        bucket.filled_at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn rate(&self) -> f64 {
        f64::from(self.requests_per_second.load(Ordering::Relaxed).max(1))
    }

    fn bucket(&mut self, client: IpAddr, now: Instant) -> &mut Bucket {
        let index = match self.buckets.iter().position(|bucket| bucket.client == client) {
            Some(index) => index,
            None => self.insert(Bucket { client, tokens: self.rate(), filled_at: now }),
        };
        &mut self.buckets[index]
    }

    fn insert(&mut self, bucket: Bucket) -> usize {
        let quietest = (0..self.buckets.len()).min_by_key(|&index| self.buckets[index].filled_at);
        match quietest {
            Some(index) if self.buckets.len() == CLIENTS_MAX => {
                self.buckets[index] = bucket;
                index
            }
            _ => {
                self.buckets.push(bucket);
                self.buckets.len() - 1
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which a single host can have to itself.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn client(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn limiter(requests_per_second: u32) -> Limiter {
        Limiter::new(Arc::new(AtomicU32::new(requests_per_second)))
    }

    #[test]
    fn a_burst_is_served_then_one_token_comes_back_at_a_time() {
        let (mut limiter, start) = (limiter(20), clock::now());
        for _ in 0..20 {
            assert_eq!(limiter.take(client(1), start), Ok(()));
        }
        assert_eq!(limiter.take(client(1), start), Err(Duration::from_millis(50)));
        assert_eq!(limiter.take(client(2), start), Ok(()), "another client has a bucket of its own");
        assert_eq!(limiter.take(client(1), start + Duration::from_millis(51)), Ok(()));
        assert!(limiter.take(client(1), start + Duration::from_millis(52)).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quietest() {
        let (mut limiter, start) = (limiter(1), clock::now());
        for n in 0..CLIENTS_MAX as u32 {
            assert_eq!(limiter.take(client(n), start + Duration::from_micros(n.into())), Ok(()));
        }
        let later = start + Duration::from_millis(1);
        assert_eq!(limiter.take(client(1000), later), Ok(()));
        assert_eq!(limiter.buckets.len(), CLIENTS_MAX);
        assert!(limiter.take(client(1), later).is_err(), "one that spoke later is still known");
        assert_eq!(limiter.take(client(0), later), Ok(()), "the quietest was forgotten");
    }

    #[test]
    fn one_host_cannot_multiply_itself() {
        let (mut limiter, now) = (limiter(1), clock::now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(limiter.take(address("2001:db8::1"), now).is_ok());
        assert!(limiter.take(address("2001:db8::2"), now).is_err());
        assert!(limiter.take(address("2001:db8:0:1::1"), now).is_ok());
        assert!(limiter.take(address("::ffff:192.0.2.1"), now).is_ok());
        assert!(limiter.take(address("192.0.2.1"), now).is_err());
    }
}
