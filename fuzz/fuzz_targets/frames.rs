//! Frames come out the same whatever pieces the stream arrives in, and none is larger than the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mokasim_fuzz::kafka::frame::Frames;
use mokasim_fuzz::within;

const BYTES_MAX: usize = 1024;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = input;
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(piece).max(1)), whole);
});

fn frames(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut found) = (Frames::new(BYTES_MAX), Vec::new());
    // A whole frame with its length, and what arrived behind it, in a buffer that doubles.
    let allocated_max = 2 * (4 + BYTES_MAX + piece);
    for bytes in stream.chunks(piece) {
        within(allocated_max, || frames.push(bytes));
        loop {
            match within(allocated_max, || frames.next_frame()) {
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
