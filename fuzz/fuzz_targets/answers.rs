//! Any bytes as the answer to any request in any version: an error or a decoded answer, and no memory for what is not there.

#![no_main]

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Message, Request};
use libfuzzer_sys::fuzz_target;
use mokasim_fuzz::kafka::connection::{Connection, Ticket};
use mokasim_fuzz::kafka::settings::Settings;
use mokasim_fuzz::within;
use std::time::{Duration, Instant};

/// An ApiVersions answer, version 3, to the handshake's correlation id 0: no error, one API (Produce 0 to 13), no delay.
const HANDSHAKE: &[u8] = &[0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0];

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (api, version, body) = input;
    let version = i16::from(version);
    macro_rules! one_of {
        ($($request:ident),*) => {{
            let decoders: &[(i16, fn(i16, &[u8]))] = &[$(($request::KEY, answer::<$request>)),*];
            let named = decoders.iter().find(|(key, _)| *key == i16::from(api));
            named.unwrap_or(&decoders[usize::from(api) % decoders.len()]).1(version, body);
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
        CreateTopicsRequest,
        DescribeConfigsRequest
    );
});

fn answer<R: Request + Default>(version: i16, body: &[u8]) {
    let known = R::VERSIONS.intersect(&<R::Response as Message>::VERSIONS);
    let is_known = (known.min..=known.max).contains(&version);
    let version = if is_known { version } else { known.min + version % (known.max - known.min + 1) };
    let (settings, now) = (Settings::new(Vec::new()), Instant::now());
    let mut connection = Connection::new(&settings, now);
    connection.received(HANDSHAKE, now).expect("the handshake");
    // Some defaults cannot be sent in some versions.
    if connection.send(Ticket(0), &R::default(), version, now + Duration::from_secs(9)).is_err() {
        return;
    }
    let mut frame = ((4 + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 1]);
    frame.extend(body);
    within(settings.frame_bytes_max, || {
        if connection.received(&frame, now).is_ok()
            && let Some((_, answer)) = connection.next_answer()
        {
            let _ = answer.decode::<R>();
        }
    });
}
