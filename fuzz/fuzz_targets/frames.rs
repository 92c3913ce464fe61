//! Frames come out the same whatever pieces the stream arrives in, and none is larger than the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mokasim::bus::kafka::frame::Frames;

const BYTES_MAX: usize = 4096;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = input;
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(piece).max(1)), whole);
});

fn frames(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut found) = (Frames::new(BYTES_MAX), Vec::new());
    for bytes in stream.chunks(piece) {
        frames.push(bytes);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= BYTES_MAX);
                    found.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
