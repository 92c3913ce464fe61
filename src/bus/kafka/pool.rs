//! Buffers of batches, used again. What is kept is bounded by its bytes: a burst, or an outage, leaves no more behind.

use bytes::BytesMut;
use std::collections::VecDeque;

/// Of buffers for small batches, none of less is kept: allocators keep those themselves, and give larger ones back to the
/// operating system.
const SMALL_BYTES_MIN: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    spare: Vec<BytesMut>,
    /// The oldest first.
    small: VecDeque<BytesMut>,
    buffer_bytes: usize,
    kept_bytes_max: usize,
}

impl Pool {
    /// A pool of buffers of `buffer_bytes`; none is made before it is needed. At most `kept_bytes_max` of them are kept, and
    /// of buffers for small batches a quarter of it.
    #[must_use]
    pub const fn new(buffer_bytes: usize, kept_bytes_max: usize) -> Self {
        Self { spare: Vec::new(), small: VecDeque::new(), buffer_bytes, kept_bytes_max }
    }

    /// A buffer with room for a batch. What is in it is of no meaning.
    pub fn take(&mut self) -> BytesMut {
        self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(self.buffer_bytes))
    }

    /// A buffer for a batch that [is small](Self::is_small), with its bytes, and at most twice the memory.
    pub fn take_small(&mut self, batch: &[u8]) -> BytesMut {
        let fits = |buffer: &BytesMut| (batch.len()..=2 * batch.len()).contains(&buffer.capacity());
        let found = self.small.iter().position(fits).and_then(|index| self.small.remove(index));
        let mut buffer = found.unwrap_or_else(|| BytesMut::with_capacity(batch.len()));
        buffer.clear();
        buffer.extend_from_slice(batch);
        buffer
    }

    /// Gives a buffer back. One that has grown for a large record is let go.
    pub fn give(&mut self, buffer: BytesMut) {
        let capacity = buffer.capacity();
        if (self.buffer_bytes..=2 * self.buffer_bytes).contains(&capacity) {
            let kept = self.spare.iter().map(BytesMut::capacity).sum::<usize>();
            if kept + capacity <= self.kept_bytes_max {
                self.spare.push(buffer);
            }
        } else if (SMALL_BYTES_MIN..self.buffer_bytes).contains(&capacity) {
            // Sizes that are wanted no more make room for those that are.
            self.small.push_back(buffer);
            while self.small.iter().map(BytesMut::capacity).sum::<usize>() > self.kept_bytes_max / 4 {
                self.small.pop_front();
            }
        }
    }

    /// Whether a batch of so many bytes would waste most of a buffer, were it kept in one.
    #[must_use]
    pub const fn is_small(&self, bytes: usize) -> bool {
        bytes < self.buffer_bytes / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_small_batches_are_used_again_where_they_fit() {
        let mut pool = Pool::new(256 << 10, 256 << 10);
        let batch = vec![b'x'; 50 << 10];
        let first = pool.take_small(&batch);
        let memory = first.as_ptr();
        pool.give(first);
        assert_ne!(pool.take_small(&batch[..20 << 10]).as_ptr(), memory, "more than twice what the batch takes");
        let again = pool.take_small(&batch[..30 << 10]);
        assert_eq!((again.as_ptr(), &again[..]), (memory, &batch[..30 << 10]));

        pool.give(again);
        for _ in 0..4 {
            pool.give(BytesMut::with_capacity(SMALL_BYTES_MIN));
        }
        assert!(pool.small.iter().all(|buffer| buffer.capacity() == SMALL_BYTES_MIN), "the oldest goes first");
        assert_eq!((pool.small.len(), pool.spare.len()), (4, 0));
    }

    #[test]
    fn a_burst_leaves_no_more_behind_than_may_be_kept() {
        let mut pool = Pool::new(256 << 10, 1 << 20);
        for bytes in [256 << 10, 100 << 10, 20 << 10] {
            (0..100).for_each(|_| pool.give(BytesMut::with_capacity(bytes)));
        }
        let kept = |buffers: &mut dyn Iterator<Item = &BytesMut>| buffers.map(BytesMut::capacity).sum::<usize>();
        assert_eq!(kept(&mut pool.spare.iter()), 1 << 20);
        assert!(kept(&mut pool.small.iter()) <= 1 << 18);
    }
}
