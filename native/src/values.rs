//! What a column takes: a value as it came to the slot of its column, whatever the format.
//!
//! None is for the exact engine: a value that does not fit, or one that counts as odd.

use crate::cells::{self, Slot, finite, short};
use crate::timestamps::{self, DAY_MICROS, MOST_DAYS, Unit, day_with_year, with_year};

/// What a column takes. `Day` is a column of dates that is a row's time as well: an instant within the day is more than
/// its cell tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    Json,
    Any,
    Integer,
    Real,
    Real32,
    Boolean,
    Time,
    Decimal,
    Instant(Unit),
    Date(Unit),
    Day(Unit),
}

impl Kind {
    /// The kind of this name; after a blank the unit that the column declares.
    pub fn named(name: &str) -> Option<Self> {
        let (name, unit) = name.split_once(' ').unwrap_or((name, ""));
        let unit = Unit::named(unit)?;
        Some(match name {
            "text" => Kind::Text,
            "json" => Kind::Json,
            "any" => Kind::Any,
            "integer" => Kind::Integer,
            "real" => Kind::Real,
            "real32" => Kind::Real32,
            "boolean" => Kind::Boolean,
            "time" => Kind::Time,
            "decimal" => Kind::Decimal,
            "instant" => Kind::Instant(unit),
            "date" => Kind::Date(unit),
            "day" => Kind::Day(unit),
            _ => return None,
        })
    }

    /// Whether values stand in the column as they are: numbers as their text, lists and objects perhaps.
    pub fn takes_all(self) -> bool {
        matches!(self, Kind::Text | Kind::Json | Kind::Any)
    }

    /// Whether lists and objects are no misfits.
    pub fn takes_parts(self) -> bool {
        matches!(self, Kind::Json | Kind::Any)
    }
}

/// A text, whose slot is known, in a column.
pub fn from_text<'a>(kind: Kind, slot: Slot<'a>, text: &[u8]) -> Option<Slot<'a>> {
    match kind {
        Kind::Text | Kind::Json | Kind::Any | Kind::Time => Some(slot),
        Kind::Decimal => cells::is_plain_decimal(text).then_some(slot),
        Kind::Integer => cells::integer_from(text).map(Slot::Long),
        Kind::Real => cells::real_from(text).and_then(finite),
        Kind::Real32 => cells::real_from(text).and_then(short),
        Kind::Boolean => match text {
            b"true" => Some(Slot::Bool(true)),
            b"false" => Some(Slot::Bool(false)),
            _ => None,
        },
        Kind::Instant(unit) => timestamps::instant_from(text, unit).map(Slot::Long),
        Kind::Date(unit) => timestamps::day_from(text, unit).map(Slot::Long),
        Kind::Day(Unit::Magnitude) => timestamps::date_from(text).map(Slot::Long),
        Kind::Day(_) => None,
    }
}

/// A number in a column.
pub fn from_long<'a>(kind: Kind, number: i64) -> Option<Slot<'a>> {
    match kind {
        Kind::Text | Kind::Json | Kind::Any | Kind::Integer | Kind::Decimal => {
            Some(Slot::Long(number))
        }
        Kind::Real => Some(Slot::Real(number as f64)),
        Kind::Real32 => short(number as f64),
        Kind::Instant(unit) => from_micros(kind, timestamps::micros_of(number, unit)?),
        Kind::Date(Unit::Magnitude) | Kind::Day(Unit::Magnitude)
            if number.unsigned_abs() < MOST_DAYS =>
        {
            from_days(kind, number)
        }
        Kind::Date(unit) => from_micros(kind, timestamps::micros_of(number, unit)?),
        Kind::Day(Unit::Days) => from_days(kind, number),
        Kind::Day(_) | Kind::Boolean | Kind::Time => None,
    }
}

/// A double, or a float as the same double, in a column.
pub fn from_double<'a>(kind: Kind, value: f64) -> Option<Slot<'a>> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    match kind {
        Kind::Text | Kind::Json | Kind::Any | Kind::Real | Kind::Decimal => finite(value),
        Kind::Real32 => short(value),
        Kind::Integer if value.fract() == 0.0 && (-BOUND..BOUND).contains(&value) => {
            Some(Slot::Long(value as i64))
        }
        _ => None,
    }
}

/// An instant in a column; in one that is text by its kind, `None` here and text elsewhere.
pub fn from_micros<'a>(kind: Kind, micros: i64) -> Option<Slot<'a>> {
    match kind {
        Kind::Instant(_) => with_year(micros).map(Slot::Long),
        Kind::Date(_) => day_with_year(micros.div_euclid(DAY_MICROS)).map(Slot::Long),
        _ => None,
    }
}

/// A date in a column, likewise.
pub fn from_days<'a>(kind: Kind, days: i64) -> Option<Slot<'a>> {
    match kind {
        Kind::Instant(_) => from_micros(kind, days.checked_mul(DAY_MICROS)?),
        Kind::Date(_) | Kind::Day(_) => day_with_year(days).map(Slot::Long),
        _ => None,
    }
}

/// A JSON integer in a column, as it was written.
pub fn from_json_integer<'a>(kind: Kind, text: &'a [u8]) -> Option<Slot<'a>> {
    let number = std::str::from_utf8(text).ok()?.parse::<i64>();
    match (kind, number) {
        (Kind::Real, _) => from_double(kind, real(text)?),
        (Kind::Real32, _) => short(real(text)?),
        (_, Ok(number)) => from_long(kind, number),
        (Kind::Text | Kind::Json | Kind::Any | Kind::Decimal, _) => Some(Slot::Text(text)),
        _ => None,
    }
}

/// A JSON number with a fraction or an exponent in a column, as it was written.
pub fn from_json_real<'a>(kind: Kind, text: &'a [u8]) -> Option<Slot<'a>> {
    let plain = || !text.iter().any(|byte| matches!(byte, b'e' | b'E'));
    match kind {
        Kind::Json => Some(Slot::Text(text)),
        Kind::Decimal if plain() => Some(Slot::Text(text)),
        Kind::Text | Kind::Any | Kind::Real => finite(real(text)?),
        Kind::Real32 => short(real(text)?),
        Kind::Integer if plain() => cells::integer_from(text).map(Slot::Long),
        Kind::Instant(unit) if plain() => from_micros(kind, timestamps::number_from(text, unit)?),
        _ => None,
    }
}

fn real(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
