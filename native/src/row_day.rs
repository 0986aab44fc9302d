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

/// By the time field: within [2008-07-10, record day + 1]; without a record day only the first bound holds.
#[inline]
pub fn by_event(time: Option<i64>, timestamp: i64) -> Result<i64, NoDay> {
    let day = time.ok_or(NoDay::NoTime)?.div_euclid(DAY_MICROS);
    let recorded = timestamp.div_euclid(DAY_MILLIS);
    let last = if timestamp >= 0 && recorded <= LAST_DAY {
        recorded + 1
    } else {
        LAST_DAY
    };
    if (FIRST..=last).contains(&day) {
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
