//! Avro by the letter: a datum to slots. Whatever is wrong with it is left to the exact engine, which says why.

use crate::cells::{self, Slot, finite, short};
use crate::csv_text::is_text;
use crate::json_text::{self, Budget};
use crate::timestamps::{DAY_MICROS, day_with_year, with_year};
use crate::values::{self, Kind};

/// Digits behind the point of a decimal; of more the exact engine knows.
const MOST_SCALE: u32 = 60;

/// A number that stands for an instant: what makes microseconds of it, or its thousandth part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stamp {
    Millis,
    Micros,
    Nanos,
}

impl Stamp {
    #[inline(always)]
    pub fn micros(self, number: i64) -> Option<i64> {
        match self {
            Stamp::Millis => number.checked_mul(1_000),
            Stamp::Micros => Some(number),
            Stamp::Nanos => Some(number.div_euclid(1_000)),
        }
    }
}

/// A writer's type. References are resolved; a type within itself has none, nor has one that the exact engine reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Null,
    Boolean,
    Long,
    Float,
    Double,
    Text,
    Stamp(Stamp),
    Date,
    /// A time of the day, in so many microseconds.
    Time(i64),
    /// Bytes; of a fixed size or after their length.
    Bytes(Option<usize>),
    Uuid,
    Decimal(Option<usize>, u32),
    BigDecimal,
    Symbol(Vec<Vec<u8>>),
    Union(Vec<Type>),
    Array(Box<Type>),
    Map(Box<Type>),
    Record(Vec<(Vec<u8>, Type)>),
    /// What only the exact engine reads.
    Other,
}

impl Type {
    /// The type of this name; `number` is a size or a scale, -1 for none, `words` are symbols or names.
    pub fn named(
        name: &str,
        number: i64,
        scale: u32,
        words: Vec<String>,
        mut parts: Vec<Type>,
    ) -> Option<Self> {
        let size = usize::try_from(number).ok();
        let mut words = words.into_iter().map(String::into_bytes);
        Some(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "text" => Type::Text,
            "millis" => Type::Stamp(Stamp::Millis),
            "micros" => Type::Stamp(Stamp::Micros),
            "nanos" => Type::Stamp(Stamp::Nanos),
            "date" => Type::Date,
            "time-millis" => Type::Time(1_000),
            "time-micros" => Type::Time(1),
            "bytes" => Type::Bytes(size),
            "uuid" => Type::Uuid,
            "decimal" if scale <= MOST_SCALE => Type::Decimal(size, scale),
            "decimal" => Type::Other,
            "big-decimal" => Type::BigDecimal,
            "symbol" => Type::Symbol(words.collect()),
            "union" => Type::Union(parts),
            "array" => Type::Array(Box::new(parts.pop()?)),
            "map" => Type::Map(Box::new(parts.pop()?)),
            "record" => Type::Record(
                parts
                    .into_iter()
                    .map_while(|part| Some((words.next()?, part)))
                    .collect(),
            ),
            "other" => Type::Other,
            _ => return None,
        })
    }

    /// The most bytes that the symbols of one value outside lists and objects take.
    pub fn longest_symbol(&self) -> usize {
        match self {
            Type::Symbol(symbols) => symbols.iter().map(Vec::len).max().unwrap_or(0),
            Type::Union(branches) => branches.iter().map(Type::longest_symbol).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// How a field is read: the usual ways by themselves, all others by type and column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    Text,
    Long,
    Double,
    Micros,
    Other,
}

/// Where null stands in the field's union.
#[derive(Clone, Copy, PartialEq)]
pub enum Null {
    Never,
    First,
    Second,
}

/// A field of the writer's record, and the column that takes it. `written`: its text is looked at when it is written.
pub struct Field {
    read: Read,
    written_as: Type,
    kind: Kind,
    null: Null,
    column: Option<usize>,
    written: bool,
}

impl Field {
    /// A field that fills `column`, which takes `kind`; `written` says whether the column's text is written.
    pub fn new(
        written_as: Type,
        kind: Kind,
        null: Null,
        column: Option<usize>,
        written: bool,
    ) -> Self {
        let read = match (&written_as, kind) {
            (Type::Text, Kind::Text | Kind::Json | Kind::Any | Kind::Time) => Read::Text,
            (Type::Long, Kind::Text | Kind::Json | Kind::Any | Kind::Integer | Kind::Decimal) => {
                Read::Long
            }
            (Type::Double, Kind::Text | Kind::Json | Kind::Any | Kind::Real | Kind::Decimal) => {
                Read::Double
            }
            (Type::Stamp(Stamp::Micros), Kind::Instant(_)) => Read::Micros,
            _ => Read::Other,
        };
        Field {
            read,
            written_as,
            kind,
            null,
            column,
            written,
        }
    }

    /// The most bytes that its symbols take in a row.
    pub fn longest_symbol(&self) -> usize {
        self.written_as.longest_symbol()
    }
}

/// A writer's record, seen from the columns. What it lacks has its default; of the inputs of one column the first that
/// is not null counts.
pub struct Program {
    pub fields: Vec<Field>,
    /// Columns that the record has no input of, and their text.
    pub defaults: Vec<(usize, Vec<u8>)>,
    /// Columns with several inputs, and the slot of a later one, in order.
    pub later: Vec<(usize, usize)>,
    /// Bytes that the names of its enums and its defaults take in a row at most.
    pub more: usize,
    pub slots: usize,
}

impl Program {
    /// Slots for rows of this record: what it lacks is null, or has its default.
    pub fn fill<'a>(&'a self, slots: &mut Vec<Slot<'a>>) {
        slots.clear();
        slots.resize(self.slots, Slot::Null);
        for (column, text) in &self.defaults {
            slots[*column] = Slot::Text(text);
        }
    }
}

/// What a schema id says of the bodies that name it: one record, or a union of records.
pub struct Writer {
    pub union: bool,
    pub programs: Vec<Option<Program>>,
}

impl Writer {
    /// The program of a body, its place among the branches, and where the record begins.
    #[inline]
    pub fn program(&self, body: &[u8]) -> Option<(&Program, usize, usize)> {
        if !self.union {
            return Some((self.programs.first()?.as_ref()?, 0, 0));
        }
        let mut bytes = Bytes { data: body, at: 0 };
        let branch = usize::try_from(bytes.long()?).ok()?;
        Some((self.programs.get(branch)?.as_ref()?, branch, bytes.at))
    }
}

pub struct Bytes<'a> {
    pub data: &'a [u8],
    pub at: usize,
}

impl<'a> Bytes<'a> {
    #[inline(always)]
    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A zigzag varint of at most ten bytes; what they hold above 64 bits is lost, as in every decoder.
    #[inline(always)]
    pub fn long(&mut self) -> Option<i64> {
        let byte = u64::from(self.byte()?);
        if byte < 0x80 {
            return Some((byte >> 1) as i64 ^ -((byte & 1) as i64));
        }
        self.longer(byte & 0x7F)
    }

    #[inline]
    fn longer(&mut self, mut raw: u64) -> Option<i64> {
        for shift in (7..70).step_by(7) {
            let byte = u64::from(self.byte()?);
            raw |= (byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        None
    }

    #[inline(always)]
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.chunk(length)
    }

    #[inline(always)]
    fn chunk(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let chunk = self.data.get(self.at..end)?;
        self.at = end;
        Some(chunk)
    }

    /// Bytes of a fixed size, or after their length.
    pub fn sized(&mut self, size: Option<usize>) -> Option<&'a [u8]> {
        match size {
            Some(size) => self.chunk(size),
            None => self.text(),
        }
    }

    #[inline(always)]
    pub fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.data.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*found)
    }

    pub fn boolean(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// One of several things, by its index.
    pub fn one_of<'t, T>(&mut self, all: &'t [T]) -> Option<&'t T> {
        all.get(usize::try_from(self.long()?).ok()?)
    }
}

/// The datum's values in the slots of their columns; None unless all of it is certain.
#[inline]
pub fn decode<'a>(
    program: &'a Program,
    body: &'a [u8],
    slots: &mut [Slot<'a>],
    kept: &mut Vec<u8>,
) -> Option<()> {
    kept.clear();
    let mut bytes = Bytes { data: body, at: 0 };
    let mut budget = Budget::of(body.len());
    for field in &program.fields {
        let slot = if field.null == Null::Never {
            value(field, &mut bytes, kept, &mut budget)?
        } else {
            let branch = bytes.byte()?;
            if branch > 2 || branch == 1 {
                return None;
            }
            if (branch == 0) == (field.null == Null::First) {
                Slot::Null
            } else {
                value(field, &mut bytes, kept, &mut budget)?
            }
        };
        if let Some(column) = field.column {
            slots[column] = slot;
        }
        if !field.written
            && let Slot::Text(text) = slot
            && !is_text(text)
        {
            return None;
        }
    }
    for (column, later) in &program.later {
        if matches!(slots[*column], Slot::Null) {
            slots[*column] = slots[*later];
        }
    }
    (bytes.at == body.len()).then_some(())
}

#[inline(always)]
fn value<'a>(
    field: &'a Field,
    bytes: &mut Bytes<'a>,
    kept: &mut Vec<u8>,
    budget: &mut Budget,
) -> Option<Slot<'a>> {
    Some(match field.read {
        Read::Text => Slot::Text(bytes.text()?),
        Read::Micros => Slot::Long(with_year(bytes.long()?)?),
        Read::Long => Slot::Long(bytes.long()?),
        Read::Double => finite(f64::from_le_bytes(bytes.fixed()?))?,
        Read::Other => return rarer(&field.written_as, field.kind, bytes, kept, budget),
    })
}

/// A value of any type in a column.
#[inline(never)]
fn rarer<'a>(
    written_as: &'a Type,
    kind: Kind,
    bytes: &mut Bytes<'a>,
    kept: &mut Vec<u8>,
    budget: &mut Budget,
) -> Option<Slot<'a>> {
    let from = kept.len();
    match written_as {
        Type::Null => Some(Slot::Null),
        Type::Boolean => {
            let value = bytes.boolean()?;
            (kind == Kind::Boolean || kind.takes_all()).then_some(Slot::Bool(value))
        }
        Type::Long => values::from_long(kind, bytes.long()?),
        Type::Float => {
            let value = f32::from_le_bytes(bytes.fixed()?);
            match kind {
                Kind::Real32 => value.is_finite().then_some(Slot::Single(value)),
                _ => values::from_double(kind, f64::from(value)),
            }
        }
        Type::Double => values::from_double(kind, f64::from_le_bytes(bytes.fixed()?)),
        Type::Text => {
            let text = bytes.text()?;
            values::from_text(kind, Slot::Text(text), text)
        }
        Type::Symbol(symbols) => {
            let text = &bytes.one_of(symbols)?[..];
            values::from_text(kind, Slot::Text(text), text)
        }
        Type::Stamp(stamp) => {
            let micros = stamp.micros(bytes.long()?)?;
            if !kind.takes_all() {
                return values::from_micros(kind, micros);
            }
            json_text::instant(with_year(micros)?, kept);
            kept_slot(from, kept)
        }
        Type::Date => {
            let day = bytes.long()?;
            if !kind.takes_all() {
                return values::from_days(kind, day);
            }
            json_text::date(day_with_year(day)?, kept);
            kept_slot(from, kept)
        }
        Type::Time(factor) => {
            if !kind.takes_all() && kind != Kind::Time {
                return None;
            }
            let micros = bytes.long()?.checked_mul(*factor)?;
            if !(0..DAY_MICROS).contains(&micros) {
                return None; // written as a number
            }
            json_text::time(micros, kept);
            kept_slot(from, kept)
        }
        Type::Bytes(size) => {
            json_text::hex(bytes.sized(*size)?, kept);
            let slot = kept_slot(from, kept)?;
            values::from_text(kind, slot, &kept[from..])
        }
        Type::Uuid => {
            json_text::uuid(&bytes.fixed()?, kept);
            let slot = kept_slot(from, kept)?;
            values::from_text(kind, slot, &kept[from..])
        }
        Type::Decimal(size, scale) => {
            decimal(bytes.sized(*size)?, *scale, kept)?;
            in_column(kind, from, kept)
        }
        Type::BigDecimal => {
            let mut inner = Bytes {
                data: bytes.text()?,
                at: 0,
            };
            let unscaled = inner.text()?;
            let scale = u32::try_from(inner.long()?)
                .ok()
                .filter(|scale| *scale <= MOST_SCALE)?;
            if unscaled.is_empty() || inner.at != inner.data.len() {
                return None;
            }
            decimal(unscaled, scale, kept)?;
            in_column(kind, from, kept)
        }
        Type::Union(branches) => rarer(bytes.one_of(branches)?, kind, bytes, kept, budget),
        Type::Array(_) | Type::Map(_) | Type::Record(_) => {
            if !kind.takes_parts() {
                return None;
            }
            json_text::value(written_as, bytes, kept, budget)?;
            kept_slot(from, kept)
        }
        Type::Other => None,
    }
}

/// What stands in `kept` from there on, as a slot.
fn kept_slot<'a>(from: usize, kept: &[u8]) -> Option<Slot<'a>> {
    Some(Slot::Kept(
        u32::try_from(from).ok()?,
        u32::try_from(kept.len()).ok()?,
    ))
}

/// A decimal, whose text is in `kept`, in a column.
fn in_column<'a>(kind: Kind, from: usize, kept: &[u8]) -> Option<Slot<'a>> {
    let text = || std::str::from_utf8(&kept[from..]).ok();
    match kind {
        Kind::Text | Kind::Json | Kind::Any | Kind::Decimal => kept_slot(from, kept),
        Kind::Integer => cells::integer_from(&kept[from..]).map(Slot::Long),
        Kind::Real => finite(text()?.parse().ok()?),
        Kind::Real32 => short(text()?.parse().ok()?),
        _ => None,
    }
}

/// A decimal's text: a big-endian number of at most sixteen bytes in two's complement, with `scale` digits behind the
/// point.
pub fn decimal(raw: &[u8], scale: u32, kept: &mut Vec<u8>) -> Option<()> {
    let mut wide = [if raw.first().is_some_and(|byte| *byte >= 0x80) {
        0xFF
    } else {
        0
    }; 16];
    wide[16usize.checked_sub(raw.len())?..].copy_from_slice(raw);
    let number = i128::from_be_bytes(wide);
    let scale = scale as usize;
    let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
    if number < 0 {
        kept.push(b'-');
    }
    kept.extend_from_slice(whole);
    if scale > 0 {
        kept.push(b'.');
        kept.extend_from_slice(fraction);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for (raw, scale, expected) in [
            (&[][..], 2, "0.00"),
            (&[0xFB], 2, "-0.05"),
            (&[0x01, 0xE2, 0x40], 2, "1234.56"),
            (&[0x80], 0, "-128"),
            (&[0xFF; 16], 1, "-0.1"),
        ] {
            let mut kept = Vec::new();
            assert_eq!(decimal(raw, scale, &mut kept), Some(()));
            assert_eq!(kept, expected.as_bytes());
        }
        assert_eq!(decimal(&[1; 17], 0, &mut Vec::new()), None);
    }
}
