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
pub const MOST_DAYS: i64 = 1_000_000;

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

/// Epoch microseconds of a number whose unit follows from its magnitude.
pub fn epoch(number: i64) -> Option<i64> {
    for (below, factor) in [
        (100_000_000_000u64, 1_000_000i64),
        (100_000_000_000_000, 1_000),
        (100_000_000_000_000_000, 1),
    ] {
        if number.unsigned_abs() < below {
            return number.checked_mul(factor);
        }
    }
    Some(number.div_euclid(1_000))
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

/// Text as an instant: ISO with an offset (`2024-07-15T13:45:18[.755258](Z|+00:00|-0800)`), a date, or epoch digits.
pub fn instant_from(text: &[u8]) -> Option<i64> {
    match iso_from(text) {
        None if (9..=17).contains(&text.len()) => epoch(digits(text)?), // eight digits may be a date
        found => found,
    }
}

/// The same but for digits.
pub fn iso_from(text: &[u8]) -> Option<i64> {
    if text.len() == 10 {
        return date_from(text).map(|day| day * DAY_MICROS);
    }
    iso(text)
}

fn iso(text: &[u8]) -> Option<i64> {
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
    with_year(
        date_from(&clock[..10])? * DAY_MICROS
            + ((hour * 60 + minute) * 60 + second) * 1_000_000
            + fraction
            - offset(zone)?,
    )
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

    #[test]
    fn offsets_are_taken_away() {
        let utc = instant_from(b"2024-07-15T20:30:00Z");
        assert_eq!(instant_from(b"2024-07-16T02:00:00+05:30"), utc);
        assert_eq!(instant_from(b"2024-07-15 12:30:00.000000999-0800"), utc);
        assert_eq!(instant_from(b"2024-07-15T20:30:00"), None); // counted: left
        assert_eq!(instant_from(b"20240715"), None);
    }
}
