//! Buffers of batches, used again.

use bytes::BytesMut;

/// More are not kept, however many a producer has needed at once.
const KEPT_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    spare: Vec<BytesMut>,
    buffer_bytes: usize,
}

impl Pool {
    /// A pool of buffers of `buffer_bytes`; none is made before it is needed.
    #[must_use]
    pub const fn new(buffer_bytes: usize) -> Self {
        Self { spare: Vec::new(), buffer_bytes }
    }

    /// A buffer with room for a batch. What is in it is of no meaning.
    pub fn take(&mut self) -> BytesMut {
        self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(self.buffer_bytes))
    }

    /// Gives a buffer back. One that has grown for a large record, or was made for a small batch, is let go.
    pub fn give(&mut self, buffer: BytesMut) {
        let is_usual = (self.buffer_bytes..=2 * self.buffer_bytes).contains(&buffer.capacity());
        if is_usual && self.spare.len() < KEPT_MAX {
            self.spare.push(buffer);
        }
    }

    /// Whether a batch of so many bytes would waste most of a buffer, were it kept in one.
    #[must_use]
    pub const fn is_small(&self, bytes: usize) -> bool {
        bytes < self.buffer_bytes / 2
    }
}
