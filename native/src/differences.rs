//! What differs between two texts of rows: which rows came and went, or which cells of the same rows are others.
//!
//! What is not certain is None, and then decided by `consumer/replace/shortcuts.py`, which says the same of all else.

use std::collections::HashSet;

/// Bytes that are looked at together: a few vector instructions.
const BLOCK: usize = 32;

fn count(block: &[u8; BLOCK], wanted: u8) -> u8 {
    block.iter().map(|byte| u8::from(*byte == wanted)).sum()
}

/// The end of the row that starts at `start`: after a line feed with an even number of quotes before it.
fn row_end(text: &[u8], start: usize) -> Option<usize> {
    let (mut quoted, mut at) = (false, start);
    while let Some(block) = text[at..].first_chunk::<BLOCK>() {
        if count(block, b'\n') > 0 {
            for (turn, byte) in block.iter().enumerate() {
                quoted ^= *byte == b'"';
                if *byte == b'\n' && !quoted {
                    return Some(at + turn + 1);
                }
            }
        } else {
            quoted ^= count(block, b'"') % 2 == 1;
        }
        at += BLOCK;
    }
    for (turn, byte) in text[at..].iter().enumerate() {
        quoted ^= *byte == b'"';
        if *byte == b'\n' && !quoted {
            return Some(at + turn + 1);
        }
    }
    None
}

/// The rows, each with its line end.
fn rows(text: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut found, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let end = row_end(text, start)?;
        found.push(&text[start..end]);
        start = end;
    }
    Some(found)
}

/// How many rows came and how many went, all others being as they were. Not certain where equal rows leave it open.
pub fn comings_and_goings(before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    let (old, new) = (rows(before)?, rows(after)?);
    let (few, many) = if old.len() <= new.len() {
        (&old, &new)
    } else {
        (&new, &old)
    };
    let mut rest = many.iter();
    if few.iter().all(|row| rest.any(|other| other == row)) {
        return Some((
            new.len().saturating_sub(old.len()),
            old.len().saturating_sub(new.len()),
        ));
    }
    let (left, right): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    if left.len() < old.len() || right.len() < new.len() {
        return None;
    }
    let kept = left.intersection(&right).count();
    Some((new.len() - kept, old.len() - kept))
}

/// The end of the cell that the text starts with: after its comma or line feed.
fn cell_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    if text.first() == Some(&b'"') {
        loop {
            at += 1 + text[at + 1..].iter().position(|byte| *byte == b'"')?;
            match text.get(at + 1)? {
                b'"' => at += 1,
                b',' | b'\n' => return Some(at + 2),
                _ => return None,
            }
        }
    }
    at += text[at..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'\n' | b'"'))?;
    (text[at] != b'"').then_some(at + 1)
}

/// How many cells of each column differ between the same rows. Not certain where these are not as many rows of so many
/// cells.
pub fn other_cells(before: &[u8], after: &[u8], columns: usize) -> Option<Vec<usize>> {
    let mut found = vec![0; columns];
    let last = columns.checked_sub(1)?;
    let (mut old, mut new) = (before, after);
    while !old.is_empty() && !new.is_empty() {
        for (column, differing) in found.iter_mut().enumerate() {
            let (cell, old_rest) = old.split_at(cell_end(old)?);
            let new_rest = match new.strip_prefix(cell) {
                Some(rest) => rest, // its end is in it, so that this is no longer cell's beginning
                None => {
                    *differing += 1;
                    let (other, rest) = new.split_at(cell_end(new)?);
                    if other.last() != cell.last() {
                        return None;
                    }
                    rest
                }
            };
            if (cell.last() == Some(&b'\n')) != (column == last) {
                return None;
            }
            (old, new) = (old_rest, new_rest);
        }
    }
    (old.is_empty() && new.is_empty()).then_some(found)
}
