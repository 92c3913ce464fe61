//! First-in first-out lists whose links live beside the items they link: joining and leaving cost the same at any length, and
//! allocate nothing.

/// No item.
pub(super) const NONE: u32 = u32::MAX;

/// For each item the one behind it. An item stands in at most one list, so one array serves them all.
#[derive(Debug, Default)]
pub(super) struct Links(pub(super) Vec<u32>);

/// A list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fifo {
    head: u32,
    tail: u32,
}

impl Fifo {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// Puts an item, which must be in no list, last.
    pub(super) fn push(&mut self, links: &mut Links, item: u32) {
        links.0[item as usize] = NONE;
        match self.tail {
            NONE => self.head = item,
            tail => links.0[tail as usize] = item,
        }
        self.tail = item;
    }

    /// Takes the first item out.
    pub(super) fn pop(&mut self, links: &Links) -> Option<u32> {
        let item = self.head;
        if item == NONE {
            return None;
        }
        self.head = links.0[item as usize];
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_share_links_and_keep_their_order() {
        let mut links = Links(vec![NONE; 6]);
        let [mut even, mut odd] = [Fifo::EMPTY; 2];
        for item in 0..6 {
            if item % 2 == 0 { even.push(&mut links, item) } else { odd.push(&mut links, item) }
        }
        assert_eq!(even.pop(&links), Some(0));
        even.push(&mut links, 0);
        let drain = |list: &mut Fifo, links: &Links| std::iter::from_fn(|| list.pop(links)).collect::<Vec<_>>();
        assert_eq!(drain(&mut even, &links), [2, 4, 0]);
        assert_eq!(drain(&mut odd, &links), [1, 3, 5]);
        odd.push(&mut links, 3);
        assert_eq!(drain(&mut odd, &links), [3], "an emptied list is as good as new");
    }
}
