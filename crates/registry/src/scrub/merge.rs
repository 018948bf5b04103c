//! Two sequences in the order of their keys, a page of each at a time.

use std::cmp::Ordering;
use std::collections::VecDeque;

use quayside_blobs::Found;
use quayside_metadata::StoredKey;

/// A sequence of which one page is in memory.
#[derive(Debug)]
pub(super) struct Pages<T> {
    page: VecDeque<T>,
    /// Where the next page begins.
    last: Option<T>,
    ended: bool,
}

impl<T: Clone> Pages<T> {
    pub(super) fn new() -> Self {
        Self {
            page: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    /// Whether the next page is needed now.
    pub(super) fn is_read(&self) -> bool {
        self.page.is_empty() && !self.ended
    }

    /// The end of the last page that was taken.
    pub(super) fn last(&self) -> Option<&T> {
        self.last.as_ref()
    }

    /// Takes the next page; a page that is not full is the last one.
    pub(super) fn fill(&mut self, page: Vec<T>, full: usize) {
        self.ended = page.len() < full;
        self.last = page.last().cloned();
        self.page = page.into();
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.page.front()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.page.pop_front()
    }
}

/// Which of two sequences comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Something in storage, without a blob that says so.
    File,
    /// A stored blob, without something in storage.
    Row,
    /// Both, under one key.
    Both,
    /// Neither has anything left.
    End,
}

pub(super) fn next(file: Option<&Found>, row: Option<&StoredKey>) -> Next {
    match (file, row) {
        (None, None) => Next::End,
        (Some(_), None) | (Some(Found::Stray(_)), _) => Next::File,
        (None, Some(_)) => Next::Row,
        (Some(Found::Blob(listed)), Some(stored)) => match listed.key.as_str().cmp(&stored.key) {
            Ordering::Less => Next::File,
            Ordering::Greater => Next::Row,
            Ordering::Equal => Next::Both,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quayside_blobs::{Listed, StorageKey};
    use quayside_oci::{Algorithm, Digest};

    use super::*;

    fn key(number: u8) -> StorageKey {
        StorageKey::new(&Digest::of(Algorithm::Sha256, b"x"), &format!("{number:03}")).unwrap()
    }

    fn file(number: u8) -> Found {
        Found::Blob(Listed {
            key: key(number),
            size: 1,
        })
    }

    fn row(number: u8) -> StoredKey {
        StoredKey {
            key: key(number).as_str().to_owned(),
            digest: Digest::of(Algorithm::Sha256, b"x"),
            size: 1,
        }
    }

    /// Everything after `last` of a sequence, up to `limit`.
    fn page<T: Clone + PartialEq>(all: &[T], last: Option<&T>, limit: usize) -> Vec<T> {
        let begin = last.map_or(0, |last| all.iter().position(|one| one == last).unwrap() + 1);
        all[begin..].iter().take(limit).cloned().collect()
    }

    proptest! {
        /// O5: whatever lies on either side is met once, on its side or on both, in pages of any length.
        #[test]
        fn meets_everything_once(
            files in prop::collection::btree_set(any::<u8>(), 0..40),
            rows in prop::collection::btree_set(any::<u8>(), 0..40),
            limit in 1_usize..7,
        ) {
            let all_files: Vec<_> = files.iter().map(|number| file(*number)).collect();
            let all_rows: Vec<_> = rows.iter().map(|number| row(*number)).collect();
            let (mut left, mut right) = (Pages::new(), Pages::new());
            let (mut only_files, mut only_rows, mut both) = (Vec::new(), Vec::new(), Vec::new());
            loop {
                if left.is_read() {
                    left.fill(page(&all_files, left.last(), limit), limit);
                }
                if right.is_read() {
                    right.fill(page(&all_rows, right.last(), limit), limit);
                }
                match next(left.front(), right.front()) {
                    Next::File => only_files.extend(left.pop()),
                    Next::Row => only_rows.extend(right.pop()),
                    Next::Both => both.extend(left.pop().zip(right.pop())),
                    Next::End => break,
                }
            }
            let expected: Vec<_> = files.difference(&rows).map(|number| file(*number)).collect();
            prop_assert_eq!(only_files, expected);
            let expected: Vec<_> = rows.difference(&files).map(|number| row(*number)).collect();
            prop_assert_eq!(only_rows, expected);
            let expected: Vec<_> = files.intersection(&rows).map(|n| (file(*n), row(*n))).collect();
            prop_assert_eq!(both, expected);
        }
    }
}
