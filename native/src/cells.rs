//! A value to the text of its cell. None of these values needs quotes; text goes through `csv_text`.

use crate::csv_text::{plain, put, put_all};
use crate::timestamps::digits;

/// A decoded value as its column takes it. `Kept` is a range of the row's own store: text that had escapes, or JSON.
/// In whole words: with a tag of one byte it is copied byte-wise shifted, behind stores that the processor waits for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Slot<'a> {
    Null,
    Text(&'a [u8]),
    Kept(u32, u32),
    Long(i64),
    Real(f64),
    Single(f32),
    Bool(bool),
}

impl<'a> Slot<'a> {
    /// The text that it is, if it is text; `kept` is the row's own store.
    #[inline]
    pub fn text<'k>(self, kept: &'k [u8]) -> Option<&'k [u8]>
    where
        'a: 'k,
    {
        match self {
            Slot::Text(text) => Some(text),
            Slot::Kept(from, to) => Some(&kept[from as usize..to as usize]),
            _ => None,
        }
    }
}

/// The most bytes of a cell that is no text: a double of 309 digits, a sign, `.0`, and room for whole blocks.
pub const MOST_PLAIN: usize = 352;

/// A finite double.
#[inline(always)]
pub fn finite<'a>(value: f64) -> Option<Slot<'a>> {
    value.is_finite().then_some(Slot::Real(value))
}

/// A number in a column of floats: a double that is a float is written with the float's digits.
pub fn short<'a>(value: f64) -> Option<Slot<'a>> {
    let single = value as f32;
    if f64::from(single) == value && single.is_finite() {
        Some(Slot::Single(single))
    } else {
        finite(value)
    }
}

#[inline]
pub fn long(buf: &mut [u8], at: usize, number: i64) -> usize {
    plain(buf, at, itoa::Buffer::new().format(number).as_bytes())
}

/// A finite double: the shortest text that reads back to it, without exponent.
#[inline]
pub fn real(buf: &mut [u8], at: usize, value: f64) -> usize {
    if value == 0.0 {
        return put(buf, at, b"0.0");
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    if (1e-4..1e15).contains(&value.abs()) {
        plain(buf, at, text)
    } else {
        spelt_out(buf, at, text)
    }
}

/// A finite float, likewise.
pub fn single(buf: &mut [u8], at: usize, value: f32) -> usize {
    if value == 0.0 {
        return put(buf, at, b"0.0");
    }
    spelt_out(buf, at, zmij::Buffer::new().format_finite(value).as_bytes())
}

/// A number as it is, or `-1.25e-7` without its exponent.
#[inline(never)]
fn spelt_out(buf: &mut [u8], mut at: usize, text: &[u8]) -> usize {
    let Some(mark) = text.iter().position(|byte| *byte == b'e') else {
        return put_all(buf, at, text);
    };
    let (mut mantissa, exponent) = (&text[..mark], &text[mark + 1..]);
    if let Some(rest) = mantissa.strip_prefix(b"-") {
        at = put(buf, at, b"-");
        mantissa = rest;
    }
    let power = exponent
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0usize, |sum, byte| sum * 10 + usize::from(byte - b'0'));
    let (whole, fraction) = mantissa.split_at(1);
    let fraction = fraction
        .strip_prefix(b".")
        .filter(|rest| *rest != b"0")
        .unwrap_or(b"");
    if exponent.starts_with(b"-") {
        at = put(buf, at, b"0.");
        buf[at..at + power - 1].fill(b'0');
        at = put_all(buf, at + power - 1, whole);
        return put_all(buf, at, fraction);
    }
    at = put_all(buf, at, whole);
    let before = fraction.len().min(power);
    at = put_all(buf, at, &fraction[..before]);
    buf[at..at + power - before].fill(b'0');
    at = put(buf, at + power - before, b".");
    if fraction.len() > power {
        put_all(buf, at, &fraction[power..])
    } else {
        put(buf, at, b"0")
    }
}

/// Text as an integer: `-?[0-9]{1,18}(\.0+)?`
pub fn integer_from(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let whole = match rest.iter().position(|byte| *byte == b'.') {
        None => rest,
        Some(at) if at + 1 < rest.len() && rest[at + 1..].iter().all(|byte| *byte == b'0') => {
            &rest[..at]
        }
        Some(_) => return None,
    };
    (1..=18)
        .contains(&whole.len())
        .then(|| digits(whole))
        .flatten()
        .map(|number| number * sign)
}

/// Whether text is `-?[0-9]+(\.[0-9]+)?`
pub fn is_plain_decimal(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = rest.split(|byte| *byte == b'.');
    let fine = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(fine) && parts.next().is_none_or(fine) && parts.next().is_none()
}

/// Text as a double: `-?[0-9]{1,30}(\.[0-9]{1,30})?`
pub fn real_from(text: &[u8]) -> Option<f64> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = rest.split(|byte| *byte == b'.');
    let fine = |part: &[u8]| (1..=30).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    if !fine(parts.next()?) || !parts.next().is_none_or(fine) || parts.next().is_some() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(value: f64) -> String {
        let mut buf = [0; MOST_PLAIN];
        let end = real(&mut buf, 0, value);
        String::from_utf8(buf[..end].to_vec()).unwrap()
    }

    #[test]
    fn doubles_have_no_exponent() {
        assert_eq!(text_of(7.0), "7.0");
        assert_eq!(text_of(1e21), "1000000000000000000000.0");
        assert_eq!(text_of(-1.25e-7), "-0.000000125");
        assert_eq!(text_of(-0.0), "0.0");
    }

    #[test]
    fn doubles_read_back() {
        let mut bits = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..200_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            if value.is_finite() && value != 0.0 {
                let text = text_of(value);
                assert_eq!(text.parse::<f64>().unwrap(), value);
                assert!(!text.contains('e') && text.contains('.'));
            }
        }
    }
}
