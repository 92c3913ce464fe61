//! Finding a broker that answers and is not too new, before the crate, whose connecting may take two minutes, is let at it.

use super::worker::Failure;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// An answer lists some 60 requests, 6 bytes each.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The request that tells. (Kafka 4 announces version 0 of Produce, to suit a bug of old clients, but does not speak it.)
const FETCH: i16 = 1;

/// The first of `addresses` (`HOST:PORT`) that answers as a broker which speaks version 0 of Fetch.
pub(super) fn usable_broker(addresses: &[String]) -> Result<String, Failure> {
    let mut why = String::new();
    for address in addresses {
        match oldest_fetch(address) {
            Ok(None | Some(0)) => return Ok(address.clone()),
            Ok(Some(oldest)) => return Err(Failure::TooNew { address: address.clone(), oldest }),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(Failure::Unreachable(why))
}

/// The oldest version of Fetch that the broker speaks; `None` when it is too old to be asked (ApiVersions came with 0.10).
fn oldest_fetch(address: &str) -> io::Result<Option<i16>> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    // ApiVersions, version 0: length, api key 18, version, correlation id, no client id. https://kafka.apache.org/protocol
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    let mut len = [0; 4];
    match stream.read_exact(&mut len) {
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        read => read?,
    }
    let len = u32::from_be_bytes(len) as usize;
    if len > ANSWER_BYTES_MAX {
        return Err(not_kafka());
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    oldest_fetch_in(&answer).map(Some)
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIME_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The answer: correlation id (4 bytes), error (2), number of requests (4), for each its key, oldest and newest version (2 each).
fn oldest_fetch_in(answer: &[u8]) -> io::Result<i16> {
    let requests = answer.get(10..).unwrap_or_default();
    let number = |bytes: &[u8]| i16::from_be_bytes([bytes[0], bytes[1]]);
    let fetch = requests.chunks_exact(6).find(|request| number(request) == FETCH);
    fetch.map(|request| number(&request[2..])).ok_or_else(not_kafka)
}

fn not_kafka() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers is no Kafka broker")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server on a free port that reads one request and answers with `answer`.
    fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read_exact(&mut [0; 14]);
            let _ = stream.write_all(answer);
        });
        address
    }

    const OLD: &[u8] = &[0, 0, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 11, 0, 1, 0, 0, 0, 17];
    const NEW: &[u8] = &[0, 0, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 13, 0, 1, 0, 4, 0, 18];

    #[test]
    fn an_old_broker_is_usable() {
        let address = server(OLD);
        assert_eq!(usable_broker(std::slice::from_ref(&address)).unwrap(), address);
    }

    #[test]
    fn a_broker_older_than_the_question_is_usable() {
        let address = server(&[]);
        assert_eq!(usable_broker(std::slice::from_ref(&address)).unwrap(), address);
    }

    #[test]
    fn a_broker_too_new_is_named() {
        let address = server(NEW);
        assert_eq!(
            usable_broker(std::slice::from_ref(&address)).unwrap_err().to_string(),
            format!(
                "broker {address} speaks Fetch 4 and later (Apache Kafka 4.0 or newer); the classic client speaks version 0"
            )
        );
    }

    #[test]
    fn what_is_no_broker_is_passed_over() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let addresses = [nobody.clone(), server(b"HTTP/1.1 400 Bad Request\r\n\r\n"), server(&OLD[..26 - 12]), server(OLD)];
        assert_eq!(usable_broker(&addresses).unwrap(), addresses[3]);
        let error = usable_broker(std::slice::from_ref(&nobody)).unwrap_err().to_string();
        assert!(error.contains(&nobody), "{error}");
    }
}
