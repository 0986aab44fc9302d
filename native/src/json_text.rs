//! Compact JSON, and the text of what Avro has types for. A record's lists and objects are written as they are read.

use crate::avro::{self, Bytes, Type};
use crate::csv_text::is_text;
use crate::timestamps::{self, DAY_MICROS, day_with_year, with_year};

/// Names in one object that are compared with each other.
pub const MOST_MEMBERS: usize = 256;
/// Items allowed beyond one for each byte, as in the exact engine; and the same for values without bytes, of which it
/// allows more.
const SPARE_ITEMS: usize = 1_000;
/// Bytes of symbols and names for each byte of the record; the exact engine allows some more.
const OUTPUT_FOR_A_BYTE: usize = 16;
const SPARE_OUTPUT: usize = 8 << 10;

/// What one record may still use up. What uses up more is left: the exact engine has the bounds that count, and these
/// lie within them.
pub struct Budget {
    items: usize,
    empty: usize,
    output: usize,
}

impl Budget {
    #[inline(always)]
    pub fn of(size: usize) -> Self {
        Budget {
            items: size + SPARE_ITEMS,
            empty: size + SPARE_ITEMS,
            output: OUTPUT_FOR_A_BYTE * size + SPARE_OUTPUT,
        }
    }

    fn spend_empty(&mut self) -> Option<()> {
        self.empty = self.empty.checked_sub(1)?;
        Some(())
    }

    fn spend_output(&mut self, size: usize) -> Option<()> {
        self.output = self.output.checked_sub(size)?;
        Some(())
    }

    /// The items of the next block of a list or map, 0 at its end.
    fn count(&mut self, bytes: &mut Bytes<'_>) -> Option<usize> {
        let mut count = bytes.long()?;
        if count < 0 {
            count = count.checked_neg()?;
            bytes.long()?;
        }
        let count = usize::try_from(count).ok()?;
        self.items = self.items.checked_sub(count)?;
        Some(count)
    }
}

/// The members of an object so far, to see that none comes twice.
#[derive(Default)]
pub struct Members(Vec<(usize, usize)>);

impl Members {
    /// Forget those of the last record.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Where the members of an object that begins now are.
    pub fn begin(&self) -> usize {
        self.0.len()
    }

    /// Forget those of an object that ends.
    pub fn end(&mut self, begin: usize) {
        self.0.truncate(begin);
    }

    /// Add the name that `kept` has from there on; None where it came before, or there are too many to compare.
    pub fn add(&mut self, begin: usize, from: usize, kept: &[u8]) -> Option<()> {
        let name = (from, kept.len());
        let same = |one: &(usize, usize)| kept[one.0..one.1] == kept[name.0..name.1];
        if self.0.len() - begin == MOST_MEMBERS || self.0[begin..].iter().any(same) {
            return None;
        }
        self.0.push(name);
        Some(())
    }
}

/// A value as compact JSON at the end of `kept`.
pub fn value(
    written_as: &Type,
    bytes: &mut Bytes<'_>,
    kept: &mut Vec<u8>,
    budget: &mut Budget,
) -> Option<()> {
    match written_as {
        Type::Null => {
            budget.spend_empty()?;
            kept.extend_from_slice(b"null");
        }
        Type::Boolean => {
            let text: &[u8] = if bytes.boolean()? { b"true" } else { b"false" };
            kept.extend_from_slice(text);
        }
        Type::Long => {
            kept.extend_from_slice(itoa::Buffer::new().format(bytes.long()?).as_bytes());
        }
        Type::Float => real(f64::from(f32::from_le_bytes(bytes.fixed()?)), kept)?,
        Type::Double => real(f64::from_le_bytes(bytes.fixed()?), kept)?,
        Type::Decimal(size, scale) => avro::decimal(bytes.sized(*size)?, *scale, kept)?,
        Type::Array(item) => {
            kept.push(b'[');
            let begin = kept.len();
            loop {
                let count = budget.count(bytes)?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    separate(begin, kept);
                    value(item, bytes, kept, budget)?;
                }
            }
            kept.push(b']');
        }
        Type::Map(item) => map(item, bytes, kept, budget)?,
        Type::Record(fields) => {
            if fields.is_empty() {
                budget.spend_empty()?;
            }
            kept.push(b'{');
            let begin = kept.len();
            for (name, part) in fields {
                budget.spend_output(name.len())?;
                separate(begin, kept);
                text(name, kept);
                kept.push(b':');
                value(part, bytes, kept, budget)?;
            }
            kept.push(b'}');
        }
        Type::Union(branches) => value(bytes.one_of(branches)?, bytes, kept, budget)?,
        other => quoted(other, bytes, kept, budget)?,
    }
    Some(())
}

/// What JSON has as text.
fn quoted(
    written_as: &Type,
    bytes: &mut Bytes<'_>,
    kept: &mut Vec<u8>,
    budget: &mut Budget,
) -> Option<()> {
    let from = kept.len();
    kept.push(b'"');
    match written_as {
        Type::Text => {
            let found = bytes.text()?;
            kept.pop();
            return is_text(found).then(|| text(found, kept));
        }
        Type::Symbol(symbols) => {
            let found = bytes.one_of(symbols)?;
            budget.spend_output(found.len())?;
            kept.pop();
            text(found, kept);
            return Some(());
        }
        Type::Bytes(size) => {
            if *size == Some(0) {
                budget.spend_empty()?;
            }
            hex(bytes.sized(*size)?, kept);
        }
        Type::Uuid => uuid(&bytes.fixed()?, kept),
        Type::Stamp(stamp) => match stamp.micros(bytes.long()?).and_then(with_year) {
            Some(micros) => instant(micros, kept),
            None => return null(from, kept),
        },
        Type::Date => match day_with_year(bytes.long()?) {
            Some(day) => date(day, kept),
            None => return null(from, kept),
        },
        Type::Time(factor) => match bytes.long()?.checked_mul(*factor) {
            Some(micros) if (0..DAY_MICROS).contains(&micros) => time(micros, kept),
            _ => return null(from, kept),
        },
        _ => return None,
    }
    kept.push(b'"');
    Some(())
}

/// What has no text of its own.
fn null(from: usize, kept: &mut Vec<u8>) -> Option<()> {
    kept.truncate(from);
    kept.extend_from_slice(b"null");
    Some(())
}

fn map(item: &Type, bytes: &mut Bytes<'_>, kept: &mut Vec<u8>, budget: &mut Budget) -> Option<()> {
    kept.push(b'{');
    let (begin, mut members) = (kept.len(), Members::default());
    loop {
        let count = budget.count(bytes)?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            separate(begin, kept);
            let from = kept.len();
            let name = bytes.text()?;
            if !is_text(name) {
                return None;
            }
            text(name, kept);
            members.add(0, from, kept)?; // a name twice: the last one counts
            kept.push(b':');
            value(item, bytes, kept, budget)?;
        }
    }
    kept.push(b'}');
    Some(())
}

/// A comma, where something stands before.
fn separate(begin: usize, kept: &mut Vec<u8>) {
    if kept.len() > begin {
        kept.push(b',');
    }
}

/// A double; of those that are written as they would be anywhere.
fn real(value: f64, kept: &mut Vec<u8>) -> Option<()> {
    if !value.is_finite() {
        kept.extend_from_slice(b"null");
        return Some(());
    }
    if !(1e-4..1e15).contains(&value.abs()) && value.to_bits() != 0 {
        return None;
    }
    kept.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    Some(())
}

/// Text in quotes, nothing escaped that need not be.
pub fn text(text: &[u8], kept: &mut Vec<u8>) {
    kept.push(b'"');
    if text
        .iter()
        .any(|byte| matches!(byte, b'"' | b'\\' | 0..=31))
    {
        for byte in text {
            escape(*byte, kept);
        }
    } else {
        kept.extend_from_slice(text);
    }
    kept.push(b'"');
}

fn escape(byte: u8, kept: &mut Vec<u8>) {
    match byte {
        b'"' => kept.extend_from_slice(b"\\\""),
        b'\\' => kept.extend_from_slice(b"\\\\"),
        8 => kept.extend_from_slice(b"\\b"),
        12 => kept.extend_from_slice(b"\\f"),
        b'\n' => kept.extend_from_slice(b"\\n"),
        b'\r' => kept.extend_from_slice(b"\\r"),
        b'\t' => kept.extend_from_slice(b"\\t"),
        0..=31 => kept.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        _ => kept.push(byte),
    }
}

/// `2024-07-15T13:45:18.755258+00:00`
pub fn instant(micros: i64, kept: &mut Vec<u8>) {
    let mut text = [0; 32];
    timestamps::instant(&mut text, 0, micros);
    kept.extend_from_slice(&text);
}

/// `2024-07-15`
pub fn date(day: i64, kept: &mut Vec<u8>) {
    let mut text = [0; 10];
    timestamps::date(&mut text, 0, day);
    kept.extend_from_slice(&text);
}

/// `13:45:18.755258`
pub fn time(micros: i64, kept: &mut Vec<u8>) {
    let mut text = [0; 32];
    timestamps::instant(&mut text, 0, micros);
    kept.extend_from_slice(&text[11..26]);
}

/// Lower-case hexadecimal digits.
pub fn hex(raw: &[u8], kept: &mut Vec<u8>) {
    for byte in raw {
        kept.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
}

/// `00010203-0405-0607-0809-0a0b0c0d0e0f`
pub fn uuid(raw: &[u8; 16], kept: &mut Vec<u8>) {
    for (at, part) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if at > 0 {
            kept.push(b'-');
        }
        hex(&raw[part], kept);
    }
}
