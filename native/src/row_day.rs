//! The day of a row: the UTC day of its time field, or of the record's timestamp.

use crate::timestamps::{DAY_MICROS, LAST_DAY};

/// 2008-07-10
const FIRST: i64 = 14_070;
const DAY_MILLIS: i64 = 86_400_000;

/// Why a record has no day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoDay {
    NoTime,
    OutOfRange,
}

/// A later first day: a day number, or an age before the record's day; None for neither.
#[derive(Clone, Copy, Default)]
pub struct Oldest {
    pub day: Option<i64>,
    pub age: Option<i64>,
}

/// By the time field: within [2008-07-10 or later, record day + 1]; without a record day what is counted from it does
/// not bound.
#[inline]
pub fn by_event(time: Option<i64>, timestamp: i64, oldest: Oldest) -> Result<i64, NoDay> {
    let day = time.ok_or(NoDay::NoTime)?.div_euclid(DAY_MICROS);
    let recorded = timestamp.div_euclid(DAY_MILLIS);
    let known = timestamp >= 0 && recorded <= LAST_DAY;
    let last = if known { recorded + 1 } else { LAST_DAY };
    let mut first = FIRST.max(oldest.day.unwrap_or(FIRST));
    if let (Some(age), true) = (oldest.age, known) {
        first = first.max(recorded.saturating_sub(age));
    }
    if (first..=last).contains(&day) {
        Ok(day)
    } else {
        Err(NoDay::OutOfRange)
    }
}

/// By the record.
pub fn by_record(timestamp: i64) -> Result<i64, NoDay> {
    let recorded = timestamp.div_euclid(DAY_MILLIS);
    if timestamp < 0 {
        Err(NoDay::NoTime)
    } else if recorded > LAST_DAY {
        Err(NoDay::OutOfRange)
    } else {
        Ok(recorded)
    }
}
