//! Avro by the letter: a datum to slots. Whatever is wrong with it is left to the exact engine, which says why.

use crate::cells::{self, Slot, finite, short};
use crate::csv_text::is_text;
use crate::timestamps::{self, DAY_MICROS, day_with_year, with_year};

/// How a field is read: its writer's type, seen from the column that takes it.
pub enum Read {
    Text,
    TextInteger,
    TextReal,
    TextShort,
    TextInstant,
    TextDate,
    Long,
    LongReal,
    LongShort,
    Millis,
    Micros,
    Nanos,
    DaysAsInstant,
    Epoch,
    Days,
    Boolean,
    Float,
    FloatShort,
    Double,
    DoubleShort,
    Symbol(Vec<Vec<u8>>),
    Nothing,
}

impl Read {
    /// The way of this name; `symbols` are those of an enum.
    pub fn named(name: &str, symbols: Vec<String>) -> Option<Self> {
        Some(match name {
            "text" => Read::Text,
            "text-integer" => Read::TextInteger,
            "text-real" => Read::TextReal,
            "text-short" => Read::TextShort,
            "text-instant" => Read::TextInstant,
            "text-date" => Read::TextDate,
            "long" => Read::Long,
            "long-real" => Read::LongReal,
            "long-short" => Read::LongShort,
            "millis" => Read::Millis,
            "micros" => Read::Micros,
            "nanos" => Read::Nanos,
            "days-instant" => Read::DaysAsInstant,
            "epoch" => Read::Epoch,
            "days" => Read::Days,
            "boolean" => Read::Boolean,
            "float" => Read::Float,
            "float-short" => Read::FloatShort,
            "double" => Read::Double,
            "double-short" => Read::DoubleShort,
            "symbol" => Read::Symbol(symbols.into_iter().map(String::into_bytes).collect()),
            "nothing" => Read::Nothing,
            _ => return None,
        })
    }
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
    pub read: Read,
    pub null: Null,
    pub column: Option<usize>,
    pub written: bool,
}

struct Bytes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A zigzag varint of at most ten bytes; what they hold above 64 bits is lost, as in every decoder.
    #[inline(always)]
    fn long(&mut self) -> Option<i64> {
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
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let end = self.at.checked_add(length)?;
        let text = self.data.get(self.at..end)?;
        self.at = end;
        Some(text)
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.data.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*found)
    }
}

/// The datum's values in the slots of their columns; None unless all of it is certain.
#[inline]
pub fn decode<'a>(fields: &'a [Field], body: &'a [u8], slots: &mut [Slot<'a>]) -> Option<()> {
    let mut bytes = Bytes { data: body, at: 0 };
    for field in fields {
        let slot = if field.null == Null::Never {
            value(field, &mut bytes)?
        } else {
            let branch = bytes.byte()?;
            if branch > 2 || branch == 1 {
                return None;
            }
            if (branch == 0) == (field.null == Null::First) {
                Slot::Null
            } else {
                value(field, &mut bytes)?
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
    (bytes.at == body.len()).then_some(())
}

#[inline(always)]
fn value<'a>(field: &'a Field, bytes: &mut Bytes<'a>) -> Option<Slot<'a>> {
    Some(match &field.read {
        Read::Text => Slot::Text(bytes.text()?),
        Read::Micros => Slot::Long(with_year(bytes.long()?)?),
        Read::Long => Slot::Long(bytes.long()?),
        Read::Double => finite(f64::from_le_bytes(bytes.fixed()?))?,
        other => return rarer(other, bytes),
    })
}

#[inline(never)]
fn rarer<'a>(read: &'a Read, bytes: &mut Bytes<'a>) -> Option<Slot<'a>> {
    Some(match read {
        Read::Text => Slot::Text(bytes.text()?),
        Read::TextInteger => Slot::Long(cells::integer_from(bytes.text()?)?),
        Read::TextReal => finite(cells::real_from(bytes.text()?)?)?,
        Read::TextShort => short(cells::real_from(bytes.text()?)?)?,
        Read::TextInstant => Slot::Long(timestamps::instant_from(bytes.text()?)?),
        Read::TextDate => Slot::Long(timestamps::date_from(bytes.text()?)?),
        Read::Long => Slot::Long(bytes.long()?),
        Read::LongReal => Slot::Real(bytes.long()? as f64),
        Read::LongShort => short(bytes.long()? as f64)?,
        Read::Millis => Slot::Long(with_year(bytes.long()?.checked_mul(1_000)?)?),
        Read::Micros => Slot::Long(with_year(bytes.long()?)?),
        Read::Nanos => Slot::Long(with_year(bytes.long()?.div_euclid(1_000))?),
        Read::DaysAsInstant => Slot::Long(with_year(bytes.long()?.checked_mul(DAY_MICROS)?)?),
        Read::Epoch => Slot::Long(with_year(timestamps::epoch(bytes.long()?)?)?),
        Read::Days => Slot::Long(day_with_year(bytes.long()?)?),
        Read::Boolean => match bytes.byte()? {
            0 => Slot::Bool(false),
            1 => Slot::Bool(true),
            _ => return None,
        },
        Read::Float => finite(f64::from(f32::from_le_bytes(bytes.fixed()?)))?,
        Read::FloatShort => {
            let value = f32::from_le_bytes(bytes.fixed()?);
            value.is_finite().then_some(Slot::Single(value))?
        }
        Read::Double => finite(f64::from_le_bytes(bytes.fixed()?))?,
        Read::DoubleShort => short(f64::from_le_bytes(bytes.fixed()?))?,
        Read::Symbol(symbols) => Slot::Text(symbols.get(usize::try_from(bytes.long()?).ok()?)?),
        Read::Nothing => Slot::Null,
    })
}
