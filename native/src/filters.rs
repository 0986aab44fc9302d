//! Which rows are kept: four filters in their order. A filter whose column the stream lacks does not apply.

use std::collections::HashSet;

use crate::cells::Slot;
use crate::rows::{Scratch, Timed};
use crate::timestamps::with_year;

/// The filters of one stream that apply. A column is None where its filter does not.
#[derive(Default)]
pub struct Filters {
    pub event_type: Option<usize>,
    pub profile: Option<usize>,
    pub install: Option<(usize, Timed)>,
    pub environment: Option<usize>,
    pub before: Option<i64>,
    pub types: Vec<(Vec<u8>, bool)>,
    pub types_default: bool,
    pub environments: Vec<Vec<u8>>,
    /// The published event types; empty where there is no list.
    pub listed: HashSet<Vec<u8>>,
}

/// The filters, in their order.
#[derive(Clone, Copy, PartialEq)]
pub enum Filter {
    EventType,
    Profile,
    Historical,
    Environment,
}

/// What the filters say of a row. `Left`: only the exact engine knows.
pub enum Found {
    Kept { unlisted: bool, no_install: bool },
    Left,
    Dropped(Filter),
}

/// Text as it is compared, in `into`; None where only the exact engine knows: other letters than ASCII, NUL.
/// Some(true): it was that already, and `into` is not touched.
#[inline]
fn normal(text: &[u8], into: &mut Vec<u8>) -> Option<bool> {
    let mut odd = false;
    let mut upper = false;
    for &byte in text {
        odd |= byte >= 0x80 || byte == 0;
        upper |= byte.is_ascii_uppercase();
    }
    if odd {
        return None;
    }
    let space = |byte: u8| matches!(byte, 9..=13 | 28..=32);
    let bare = !upper
        && !text.first().copied().is_some_and(space)
        && !text.last().copied().is_some_and(space);
    if bare {
        return Some(true);
    }
    let begin = text
        .iter()
        .position(|byte| !space(*byte))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !space(*byte))
        .map_or(begin, |at| at + 1);
    into.clear();
    into.extend(text[begin..end].iter().map(u8::to_ascii_lowercase));
    Some(false)
}

impl Filters {
    /// Judge a row with this time. `scratch.type_is_normal` tells whether the event type stands there as it is compared,
    /// else `scratch.normal` has it.
    #[inline]
    pub fn judge(&self, slots: &[Slot<'_>], time: Option<i64>, scratch: &mut Scratch) -> Found {
        let mut unlisted = false;
        scratch.type_is_normal = true;
        if let Some(at) = self.event_type {
            match slots[at] {
                Slot::Null if !self.types_default => return Found::Dropped(Filter::EventType),
                Slot::Null => {}
                slot => {
                    let Scratch {
                        normal: into, kept, ..
                    } = scratch;
                    let Some(text) = slot.text(kept) else {
                        return Found::Left;
                    };
                    let Some(bare) = normal(text, into) else {
                        return Found::Left;
                    };
                    let text = if bare { text } else { &into[..] };
                    let keeps = self
                        .types
                        .iter()
                        .find(|(name, _)| name == text)
                        .map_or(self.types_default, |found| found.1);
                    if !keeps {
                        return Found::Dropped(Filter::EventType);
                    }
                    unlisted = !self.listed.is_empty() && !self.listed.contains(text);
                    scratch.type_is_normal = bare;
                }
            }
        }
        if let Some(at) = self.profile {
            match slots[at] {
                Slot::Null => return Found::Dropped(Filter::Profile),
                slot => match slot.text(&scratch.kept) {
                    Some(text) if text.iter().all(|byte| matches!(byte, b'0' | b'-' | 0)) => {
                        return Found::Dropped(Filter::Profile);
                    }
                    Some(_) => {}
                    None => return Found::Left,
                },
            }
        }
        let mut no_install = false;
        let bound = match self.install {
            Some((at, timed)) => {
                let Some(found) = timed.of(slots[at]) else {
                    return Found::Left;
                };
                let found = found.and_then(with_year);
                no_install = found.is_none();
                found
            }
            None => self.before,
        };
        if let (Some(time), Some(bound)) = (time.and_then(with_year), bound)
            && time < bound
        {
            return Found::Dropped(Filter::Historical);
        }
        if let Some(at) = self.environment {
            let mut lower = Vec::new();
            let found = match slots[at] {
                Slot::Null => false,
                slot => {
                    let Some(text) = slot.text(&scratch.kept) else {
                        return Found::Left;
                    };
                    let Some(bare) = normal(text, &mut lower) else {
                        return Found::Left;
                    };
                    let text = if bare { text } else { &lower[..] };
                    self.environments.iter().any(|name| name == text)
                }
            };
            if !found {
                return Found::Dropped(Filter::Environment);
            }
        }
        Found::Kept {
            unlisted,
            no_install,
        }
    }
}
