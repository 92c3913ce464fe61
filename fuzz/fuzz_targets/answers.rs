//! Any bytes as the answer to any request in any version: an error or a decoded answer, and no memory for what is not there
//! (run with `-malloc_limit_mb=32`).

#![no_main]

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Message, Request};
use libfuzzer_sys::fuzz_target;
use mokasim::bus::kafka::connection::{Connection, Ticket};
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use std::time::Duration;

/// An ApiVersions answer, version 3, to the handshake's correlation id 0: no error, one API (Produce 0 to 13), no delay.
const HANDSHAKE: &[u8] = &[0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0];

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (api, version, body) = input;
    let version = i16::from(version);
    macro_rules! one_of {
        ($($request:ident),*) => {{
            let decoders: &[fn(i16, &[u8])] = &[$(answer::<$request>),*];
            decoders[usize::from(api) % decoders.len()](version, body);
        }};
    }
    one_of!(
        ApiVersionsRequest,
        MetadataRequest,
        FindCoordinatorRequest,
        InitProducerIdRequest,
        ProduceRequest,
        FetchRequest,
        ListOffsetsRequest,
        JoinGroupRequest,
        SyncGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        ConsumerGroupHeartbeatRequest,
        SaslHandshakeRequest,
        SaslAuthenticateRequest,
        CreateTopicsRequest
    );
});

fn answer<R: Request + Default>(version: i16, body: &[u8]) {
    let known = R::VERSIONS.intersect(&<R::Response as Message>::VERSIONS);
    let version = known.min + version % (known.max - known.min + 1);
    let now = clock::now();
    let mut connection = Connection::new(&Settings::new(Vec::new()), now);
    connection.received(HANDSHAKE, now).expect("the handshake");
    // Some defaults cannot be sent in some versions.
    if connection.send(Ticket(0), &R::default(), version, now + Duration::from_secs(9)).is_err() {
        return;
    }
    let mut frame = ((4 + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 1]);
    frame.extend(body);
    if connection.received(&frame, now).is_ok()
        && let Some((_, answer)) = connection.next_answer()
    {
        let _ = answer.decode::<R>();
    }
}
