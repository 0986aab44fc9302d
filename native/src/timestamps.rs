//! Instants and dates: epoch numbers, the ISO text that producers write, and the text of cells.
//!
//! Read is only what is certain and counts as nothing odd; other shapes are left to the exact engine.

use crate::csv_text::put;

pub const DAY_MICROS: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00Z
pub const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z
pub const LAST_MICROS: i64 = 253_402_300_799_999_999;
pub const FIRST_DAY: i64 = FIRST_MICROS / DAY_MICROS;
pub const LAST_DAY: i64 = LAST_MICROS / DAY_MICROS;
/// In a column of dates a smaller number counts days, a larger one is an instant.
pub const MOST_DAYS: u64 = 1_000_000;

/// What an epoch number counts: what its column declares, else what its magnitude tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Magnitude,
    Days,
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// The unit of this name; "" is none.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "" => Unit::Magnitude,
            "days" => Unit::Days,
            "millis" => Unit::Millis,
            "micros" => Unit::Micros,
            "nanos" => Unit::Nanos,
            _ => return None,
        })
    }

    /// What makes microseconds of a number of this size; None where they are a thousandth of it.
    fn factor(self, size: u64) -> Option<i64> {
        match self {
            Unit::Days => Some(DAY_MICROS),
            Unit::Millis => Some(1_000),
            Unit::Micros => Some(1),
            Unit::Nanos => None,
            Unit::Magnitude => [
                (100_000_000_000, 1_000_000),
                (100_000_000_000_000, 1_000),
                (100_000_000_000_000_000, 1),
            ]
            .into_iter()
            .find_map(|(below, factor)| (size < below).then_some(factor)),
        }
    }
}

/// An instant that can be written down.
#[inline(always)]
pub fn with_year(micros: i64) -> Option<i64> {
    (FIRST_MICROS..=LAST_MICROS)
        .contains(&micros)
        .then_some(micros)
}

/// A day that can be written down.
#[inline(always)]
pub fn day_with_year(day: i64) -> Option<i64> {
    (FIRST_DAY..=LAST_DAY).contains(&day).then_some(day)
}

/// Epoch microseconds of a number.
pub fn micros_of(number: i64, unit: Unit) -> Option<i64> {
    match unit.factor(number.unsigned_abs()) {
        Some(factor) => number.checked_mul(factor),
        None => Some(number.div_euclid(1_000)),
    }
}

/// Epoch microseconds of a number as text, perhaps with a fraction: `-?[0-9]{1,18}(\.[0-9]+)?`
pub fn number_from(text: &[u8], unit: Unit) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let whole = rest.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match whole {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b"0"[..]),
    };
    if !(1..=18).contains(&whole.len())
        || fraction.is_empty()
        || !fraction.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let number = digits(whole)?;
    let Some(factor) = unit.factor(number.unsigned_abs()) else {
        return micros_of(sign * number, unit);
    };
    let more = match factor {
        DAY_MICROS if fraction.iter().any(|byte| *byte != b'0') => return None,
        1_000_000 => first_digits(fraction, 6),
        1_000 => first_digits(fraction, 3),
        _ => 0,
    };
    Some(sign * (number.checked_mul(factor)?.checked_add(more)?))
}

/// The first of these digits, as if zeros followed.
fn first_digits(text: &[u8], many: usize) -> i64 {
    let digit = |at| text.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    (0..many).fold(0, |sum, at| sum * 10 + digit(at))
}

/// Days since 1970-01-01 of a calendar date, or None where there is no such date.
pub fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let most = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if year < 1 || day < 1 || day > most {
        return None;
    }
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    Some(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468)
}

/// The number that these digits are; at most 18 of them.
pub fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

/// `2024-07-15`
pub fn date_from(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    day_of(
        digits(&text[0..4])?,
        digits(&text[5..7])?,
        digits(&text[8..10])?,
    )
}

/// `20240715`
fn compact_date_from(text: &[u8]) -> Option<i64> {
    if text.len() != 8 {
        return None;
    }
    day_of(
        digits(&text[..4])?,
        digits(&text[4..6])?,
        digits(&text[6..])?,
    )
}

/// Text as an instant with a year: ISO with an offset (`2024-07-15T13:45:18[.755258](Z|+00:00|-0800)`), a date, or an
/// epoch number.
pub fn instant_from(text: &[u8], unit: Unit) -> Option<i64> {
    if let Some(day) = date_from(text).or_else(|| compact_date_from(text)) {
        return Some(day * DAY_MICROS);
    }
    match iso(text) {
        Some((micros, offset)) => with_year(micros - offset),
        None => with_year(number_from(text, unit)?),
    }
}

/// Text as the day of a date: as it is written, whatever its offset.
pub fn day_from(text: &[u8], unit: Unit) -> Option<i64> {
    let few = text.strip_prefix(b"-").unwrap_or(text);
    if unit == Unit::Magnitude && (1..=6).contains(&few.len()) && few.iter().all(u8::is_ascii_digit)
    {
        return day_with_year(if few.len() < text.len() { -1 } else { 1 } * digits(few)?);
    }
    if let Some(day) = date_from(text).or_else(|| compact_date_from(text)) {
        return Some(day);
    }
    let micros = match iso(text) {
        Some((micros, _)) => micros,
        None => number_from(text, unit)?,
    };
    day_with_year(micros.div_euclid(DAY_MICROS))
}

/// ISO text as microseconds by its own clock, and how far that is ahead of UTC.
fn iso(text: &[u8]) -> Option<(i64, i64)> {
    let (clock, zone) = (text.get(..19)?, &text[19..]);
    if !matches!(clock[10], b'T' | b' ') || clock[13] != b':' || clock[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (
        digits(&clock[11..13])?,
        digits(&clock[14..16])?,
        digits(&clock[17..19])?,
    );
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = match zone.strip_prefix(b".") {
        None => (0, zone),
        Some(rest) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            let kept = length.min(6); // what is finer than a microsecond is cut off
            (
                digits(&rest[..kept])? * 10i64.pow(6 - kept as u32),
                &rest[length..],
            )
        }
    };
    Some((
        date_from(&clock[..10])? * DAY_MICROS
            + ((hour * 60 + minute) * 60 + second) * 1_000_000
            + fraction,
        offset(zone)?,
    ))
}

/// How far local time is ahead of UTC, in microseconds.
fn offset(zone: &[u8]) -> Option<i64> {
    if matches!(zone, b"Z" | b"+00:00" | b"+0000") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        5 if rest[2] == b':' => (digits(&rest[..2])?, digits(&rest[3..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[inline(always)]
fn pair(number: u32) -> [u8; 2] {
    PAIRS[number as usize]
}

/// Year, month, day of a day within the years 1 to 9999 (Neri and Schneider, Euclidean affine functions).
#[inline(always)]
fn civil(day: i64) -> (u32, u32, u32) {
    let n = (day + 719_468) as u32; // days since 0000-03-01, 306 and more
    let n1 = 4 * n + 3;
    let century = n1 / 146_097;
    let n2 = (n1 % 146_097) / 4 * 4 + 3;
    let p2 = 2_939_745u64 * u64::from(n2);
    let (z, u) = ((p2 >> 32) as u32, (p2 as u32) / 2_939_745 / 4);
    let n3 = 2_141 * u + 197_913;
    let (month, d) = (n3 >> 16, (n3 & 0xFFFF) / 2_141);
    let january = u >= 306;
    (
        100 * century + z + u32::from(january),
        if january { month - 12 } else { month },
        d + 1,
    )
}

#[inline(always)]
fn date_into(text: &mut [u8], day: i64) {
    let (year, month, day) = civil(day);
    text[0..2].copy_from_slice(&pair(year / 100));
    text[2..4].copy_from_slice(&pair(year % 100));
    text[5..7].copy_from_slice(&pair(month));
    text[8..10].copy_from_slice(&pair(day));
}

/// A day with a year as `2024-07-15`.
#[inline]
pub fn date(buf: &mut [u8], at: usize, day: i64) -> usize {
    let mut text = *b"0000-00-00";
    date_into(&mut text, day);
    put(buf, at, &text)
}

/// An instant with a year as `2024-07-15T13:45:18.755258+00:00`.
#[inline]
pub fn instant(buf: &mut [u8], at: usize, micros: i64) -> usize {
    let mut text = *b"0000-00-00T00:00:00.000000+00:00";
    let (day, rest) = (
        micros.div_euclid(DAY_MICROS),
        micros.rem_euclid(DAY_MICROS) as u64,
    );
    date_into(&mut text, day);
    let (seconds, part) = ((rest / 1_000_000) as u32, (rest % 1_000_000) as u32);
    text[11..13].copy_from_slice(&pair(seconds / 3600));
    text[14..16].copy_from_slice(&pair(seconds / 60 % 60));
    text[17..19].copy_from_slice(&pair(seconds % 60));
    text[20..22].copy_from_slice(&pair(part / 10_000));
    text[22..24].copy_from_slice(&pair(part / 100 % 100));
    text[24..26].copy_from_slice(&pair(part % 100));
    put(buf, at, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_with_a_year_reads_back() {
        let mut buf = [0; 10];
        for day in FIRST_DAY..=LAST_DAY {
            date(&mut buf, 0, day);
            assert_eq!(date_from(&buf), Some(day));
        }
    }

    fn instant_of(text: &[u8]) -> Option<i64> {
        instant_from(text, Unit::Magnitude)
    }

    #[test]
    fn offsets_are_taken_away() {
        let utc = instant_of(b"2024-07-15T20:30:00Z");
        assert_eq!(instant_of(b"2024-07-16T02:00:00+05:30"), utc);
        assert_eq!(instant_of(b"2024-07-15 12:30:00.000000999-0800"), utc);
        assert_eq!(instant_of(b"1721075400"), utc);
        assert_eq!(instant_of(b"1721075400.0000009"), utc);
        assert_eq!(instant_of(b"2024-07-15T20:30:00"), None); // counted: left
        assert_eq!(instant_of(b"20240715"), instant_of(b"2024-07-15"));
        assert_eq!(instant_of(b"20241315"), Some(20_241_315_000_000)); // no date: seconds
    }

    #[test]
    fn numbers_count_what_is_declared() {
        for (unit, text, micros) in [
            (Unit::Days, &b"2"[..], Some(2 * DAY_MICROS)),
            (Unit::Days, b"2.5", None),
            (Unit::Millis, b"-1.0019", Some(-1_001)),
            (Unit::Micros, b"7.9", Some(7)),
            (Unit::Nanos, b"-1", Some(-1)),
            (Unit::Magnitude, b"-1.5", Some(-1_500_000)),
            (Unit::Magnitude, b"1.", None),
            (Unit::Magnitude, b".5", None),
            (Unit::Magnitude, b"1234567890123456789", None),
        ] {
            assert_eq!(number_from(text, unit), micros);
        }
    }

    #[test]
    fn dates_are_as_written() {
        let day = date_from(b"2026-11-20");
        for text in [&b"2026-11-20T00:00:00+03:00"[..], b"20261120", b"20777"] {
            assert_eq!(day_from(text, Unit::Magnitude), day);
        }
        assert_eq!(day_from(b"20777", Unit::Days), day);
        assert_eq!(day_from(b"-1", Unit::Magnitude), Some(-1));
    }
}
