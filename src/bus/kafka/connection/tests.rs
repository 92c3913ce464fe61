//! The broker's side, byte by byte.

use super::super::security::{Mechanism, Password, Security};
use super::*;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::messages::{ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Encodable, decode_request_header_from_buffer};

/// What the connection has to write, as frames: the request's header and its body.
fn requests(connection: &mut Connection) -> Vec<(RequestHeader, Bytes)> {
    let mut frames = Frames::new(1 << 20);
    loop {
        let mut slices = [IoSlice::new(&[]); 1];
        let filled = connection.outgoing(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        if bytes.is_empty() {
            break;
        }
        frames.push(&bytes);
        connection.sent(bytes.len());
    }
    let frames = std::iter::from_fn(|| frames.next_frame().unwrap());
    frames.map(|mut frame| (decode_request_header_from_buffer(&mut frame).unwrap(), frame)).collect()
}

fn answer<T: Encodable>(header: &RequestHeader, version: i16, body: &T) -> Vec<u8> {
    let key = ApiKey::try_from(header.request_api_key).unwrap();
    let mut frame = BytesMut::new();
    let response = ResponseHeader::default().with_correlation_id(header.correlation_id);
    response.encode(&mut frame, key.response_header_version(version)).unwrap();
    body.encode(&mut frame, version).unwrap();
    [&(frame.len() as i32).to_be_bytes()[..], &frame].concat()
}

fn versions() -> ApiVersionsResponse {
    let api = |(key, max)| ApiVersion::default().with_api_key(key).with_max_version(max);
    let sasl = [(SaslHandshakeRequest::KEY, 1), (SaslAuthenticateRequest::KEY, 2)];
    let keys = [(ProduceRequest::KEY, 13), (HeartbeatRequest::KEY, 4)].into_iter().chain(sasl);
    ApiVersionsResponse::default().with_api_keys(keys.map(api).collect())
}

fn start(now: Instant, sasl: Option<Sasl>) -> Connection {
    let mut settings = Settings::new(Vec::new());
    settings.security = Security { tls: None, sasl };
    settings.frame_bytes_max = 1000;
    Connection::new(&settings, now)
}

/// A connection past its handshake, with one heartbeat in flight.
fn with_heartbeat(now: Instant) -> (Connection, RequestHeader) {
    let mut connection = start(now, None);
    let header = requests(&mut connection).remove(0).0;
    connection.received(&answer(&header, 3, &versions()), now).unwrap();
    let version = connection.versions().highest::<HeartbeatRequest>().unwrap();
    let deadline = now + Duration::from_secs(1);
    connection.send(Ticket(7), &HeartbeatRequest::default(), version, deadline).unwrap();
    let header = requests(&mut connection).remove(0).0;
    (connection, header)
}

#[test]
fn an_old_broker_is_asked_for_its_versions_again_in_version_0() {
    let now = crate::clock::now();
    let mut connection = start(now, None);
    let first = requests(&mut connection).remove(0).0;
    assert_eq!(first.request_api_version, 3);
    connection.received(&answer(&first, 0, &ApiVersionsResponse::default().with_error_code(35)), now).unwrap();
    assert!(!connection.is_ready());
    let second = requests(&mut connection).remove(0).0;
    assert_eq!(second.request_api_version, 0);
    connection.received(&answer(&second, 0, &versions()), now).unwrap();
    assert!(connection.is_ready());
}

#[test]
fn a_broker_too_old_is_refused_at_the_door() {
    let now = crate::clock::now();
    let mut connection = start(now, None);
    let header = requests(&mut connection).remove(0).0;
    let produce = ApiVersion::default().with_api_key(ProduceRequest::KEY).with_max_version(2);
    let versions = ApiVersionsResponse::default().with_api_keys(vec![produce]);
    let failure = connection.received(&answer(&header, 3, &versions), now).unwrap_err();
    assert!(failure.is_broker_too_old(), "{failure}");
    assert!(!connection.is_ready());
}

#[test]
fn answers_come_whatever_the_pieces_and_are_matched_to_their_ticket() {
    let now = crate::clock::now();
    let bytes = answer(&with_heartbeat(now).1, 4, &HeartbeatResponse::default().with_error_code(27));
    for piece in 1..=bytes.len() {
        let mut connection = with_heartbeat(now).0;
        bytes.chunks(piece).for_each(|bytes| connection.received(bytes, now).unwrap());
        let (ticket, answer) = connection.next_answer().unwrap();
        assert_eq!(ticket, Ticket(7));
        assert_eq!(answer.decode::<HeartbeatRequest>().unwrap().error_code, 27);
    }
}

#[test]
fn a_wrong_correlation_id_an_unasked_answer_and_an_endless_frame_are_errors() {
    let now = crate::clock::now();
    let (mut connection, mut header) = with_heartbeat(now);
    header.correlation_id += 1;
    let wrong = answer(&header, 4, &HeartbeatResponse::default());
    assert!(matches!(connection.received(&wrong, now), Err(Failure::Correlation { .. })));
    assert_eq!(connection.abandoned().collect::<Vec<_>>(), [Ticket(7)]);

    let (mut connection, header) = with_heartbeat(now);
    let right = answer(&header, 4, &HeartbeatResponse::default());
    let twice = [right.clone(), right].concat();
    assert!(matches!(connection.received(&twice, now), Err(Failure::Correlation { .. })));

    let mut connection = with_heartbeat(now).0;
    assert!(matches!(connection.received(&[0x7f; 4], now), Err(Failure::FrameLength { .. })));
}

#[test]
fn a_request_that_is_not_answered_in_time_is_an_error() {
    let now = crate::clock::now();
    let mut connection = with_heartbeat(now).0;
    assert_eq!(connection.deadline(), Some(now + Duration::from_secs(1)));
    assert_eq!(connection.poll(now + Duration::from_millis(999)), Ok(()));
    assert_eq!(connection.poll(now + Duration::from_secs(1)), Err(Failure::TimedOut(Api(HeartbeatRequest::KEY))));
}

#[test]
fn an_answer_is_due_at_once_but_for_what_the_broker_may_let_wait() {
    let now = crate::clock::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let timeout = Settings::new(Vec::new()).request_timeout;
    let mut connection = start(now, None);
    assert_eq!((connection.due_since(), connection.heard_at()), (Some(now), now), "the handshake");
    let header = requests(&mut connection).remove(0).0;
    connection.received(&answer(&header, 3, &versions()), at(1)).unwrap();
    assert_eq!((connection.due_since(), connection.heard_at()), (None, at(1)), "nothing is asked");
    for (ticket, wait, due) in [(1, 20, 22), (2, 0, 2)] {
        let deadline = at(2 + wait) + timeout;
        connection.send(Ticket(ticket), &HeartbeatRequest::default(), 4, deadline).unwrap();
        assert_eq!(connection.due_since(), Some(at(due)), "a wait of {wait} s");
    }
}

#[test]
fn sasl_comes_before_requests_and_again_before_its_session_ends() {
    let now = crate::clock::now();
    let password = Password("pencil".into());
    let mut connection = start(now, Some(Sasl { mechanism: Mechanism::Plain, username: "user".into(), password }));
    let header = requests(&mut connection).remove(0).0;
    connection.received(&answer(&header, 3, &versions()), now).unwrap();
    for later in [0, 850] {
        let now = now + Duration::from_millis(later);
        connection.poll(now).unwrap();
        assert!(!connection.is_ready());
        let (header, _) = requests(&mut connection).remove(0);
        assert_eq!(header.request_api_key, SaslHandshakeRequest::KEY);
        connection.received(&answer(&header, 1, &SaslHandshakeResponse::default()), now).unwrap();
        let (header, body) = requests(&mut connection).remove(0);
        assert!(body.windows(12).any(|window| window == b"\0user\0pencil"));
        let session = SaslAuthenticateResponse::default().with_session_lifetime_ms(1000);
        connection.received(&answer(&header, 2, &session), now).unwrap();
        assert!(connection.is_ready());
    }
}

#[test]
fn a_refusal_says_what_the_broker_said_and_never_the_password() {
    let now = crate::clock::now();
    let password = Password("pencil".into());
    let mut connection = start(now, Some(Sasl { mechanism: Mechanism::Plain, username: "user".into(), password }));
    let header = requests(&mut connection).remove(0).0;
    connection.received(&answer(&header, 3, &versions()), now).unwrap();
    let header = requests(&mut connection).remove(0).0;
    connection.received(&answer(&header, 1, &SaslHandshakeResponse::default()), now).unwrap();
    let header = requests(&mut connection).remove(0).0;
    let refusal = SaslAuthenticateResponse::default().with_error_code(58).with_error_message(Some("no such user".into()));
    let failure = connection.received(&answer(&header, 2, &refusal), now).unwrap_err();
    assert_eq!(failure.to_string(), "PLAIN: refused with code 58: no such user");
    assert!(!format!("{connection:?}").contains("pencil"));
}

#[test]
fn a_throttled_connection_waits_and_what_is_in_flight_is_due_so_much_later() {
    let now = crate::clock::now();
    let (mut connection, _) = with_heartbeat(now);
    let throttle = Duration::from_secs(20);
    connection.mute(throttle, now);
    assert!(!connection.is_ready());
    let at = |seconds: u64, millis: u64| now + Duration::from_millis(seconds * 1000 + millis);
    connection.poll(at(19, 999)).unwrap();
    assert!(!connection.is_ready());
    connection.poll(at(20, 0)).unwrap();
    assert!(connection.is_ready());
    assert!(matches!(connection.poll(at(21, 0)), Err(Failure::TimedOut(_))));
}
