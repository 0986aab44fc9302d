//! The rules of one stream: a decoded row to its day, to the filter that drops it, or to a line of its day's text.

use std::collections::HashMap;

use crate::cells::{self, MOST_PLAIN, Slot};
use crate::csv_text;
use crate::filters::{Filter, Filters, Found};
use crate::privacy::{self, Key, Method};
use crate::row_day::{self, NoDay, Oldest};
use crate::timestamps::{self, DAY_MICROS, Unit};

/// How a column's value is written, where its type does not say it. An event type may have another name in the CSV.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Plain,
    Instant,
    Date,
    EventType,
}

/// What a column's value means as a time.
#[derive(Clone, Copy, PartialEq)]
pub enum Timed {
    Micros,
    Days,
    Epoch,
    Text,
}

impl Timed {
    /// Epoch microseconds, Some(None) for no value; None where only the exact engine knows.
    pub fn of(self, slot: Slot<'_>) -> Option<Option<i64>> {
        Some(match (self, slot) {
            (_, Slot::Null) => None,
            (Timed::Micros, Slot::Long(micros)) => Some(micros),
            (Timed::Days, Slot::Long(days)) => Some(days * DAY_MICROS),
            // eight digits came perhaps as text, and are a date then
            (Timed::Epoch, Slot::Long(10_000_000..=99_999_999)) => return None,
            (Timed::Epoch, Slot::Long(number)) => {
                Some(timestamps::micros_of(number, Unit::Magnitude)?)
            }
            (Timed::Text, Slot::Text(text)) => {
                Some(timestamps::instant_from(text, Unit::Magnitude)?)
            }
            _ => return None,
        })
    }
}

/// A column of the object to be: where its value stands (None: it is not this stream's), and how it is written.
pub struct Column {
    pub slot: Option<usize>,
    pub form: Form,
    pub method: Option<Method>,
}

/// What becomes of cells after the filters.
#[derive(Default)]
pub struct Finish {
    /// What stands for an event type, as it is compared.
    pub names: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether event types are written as they are compared.
    pub normal_types: bool,
    /// Whether line breaks become blanks.
    pub spaces: bool,
    pub key: Option<Key>,
}

impl Finish {
    /// Bytes that a cell may be longer than its value.
    pub fn more(&self) -> usize {
        let name = self.names.values().map(Vec::len).max().unwrap_or(0);
        name.max(self.key.as_ref().map_or(0, Key::longest))
    }
}

pub struct Rules {
    pub columns: Vec<Column>,
    /// How many columns the stream has.
    pub slots: usize,
    pub filters: Filters,
    pub time: (usize, Timed),
    pub by_record: bool,
    pub oldest: Oldest,
    pub finish: Finish,
    /// Bytes that a cell may be longer than its value.
    pub more: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Verdict {
    Kept,
    Left,
    NoDay(NoDay),
    Filtered(Filter),
}

/// A decoded row at `place` of the batch. `size` is the bytes of its texts at most.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub slots: &'a [Slot<'a>],
    pub timestamp: i64,
    pub place: u32,
    pub size: usize,
}

/// What one batch needs beside the rules; used again for each row.
#[derive(Default)]
pub struct Scratch {
    /// The event type as it is compared.
    pub normal: Vec<u8>,
    pub type_is_normal: bool,
    /// The row's own store.
    pub kept: Vec<u8>,
    line: Vec<u8>,
    cell: Vec<u8>,
}

/// The rows of one day so far. `text` is None where nobody wants it; `ends` has each row's place and where its text ends.
pub struct Day {
    pub day: i64,
    pub text: Option<Vec<u8>>,
    pub rows: usize,
    pub first: u32,
    pub last: u32,
    pub ends: Vec<(u32, usize)>,
    pub unlisted: usize,
    pub no_install: usize,
    pub line_breaks: usize,
}

/// The days of a batch.
#[derive(Default)]
pub struct Days {
    pub list: Vec<Day>,
    by_day: HashMap<i64, usize>,
    latest: usize,
}

impl Days {
    /// The day's rows; `text` makes its buffer when it is first met, or None.
    #[inline]
    fn get<E>(
        &mut self,
        day: i64,
        text: &mut impl FnMut(i64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<&mut Day, E> {
        if self.list.get(self.latest).is_none_or(|one| one.day != day) {
            self.latest = match self.by_day.get(&day) {
                Some(at) => *at,
                None => {
                    self.list.push(Day {
                        day,
                        text: text(day)?,
                        rows: 0,
                        first: 0,
                        last: 0,
                        ends: Vec::new(),
                        unlisted: 0,
                        no_install: 0,
                        line_breaks: 0,
                    });
                    self.by_day.insert(day, self.list.len() - 1);
                    self.list.len() - 1
                }
            };
        }
        Ok(&mut self.list[self.latest])
    }
}

impl Rules {
    /// Judge a row, and write it where it is kept.
    #[inline]
    pub fn judge<E>(
        &self,
        row: Row<'_>,
        days: &mut Days,
        scratch: &mut Scratch,
        text: &mut impl FnMut(i64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Verdict, E> {
        let Row {
            slots,
            timestamp,
            place,
            size,
        } = row;
        let (at, timed) = self.time;
        let Some(time) = timed.of(slots[at]) else {
            return Ok(Verdict::Left);
        };
        let found = if self.by_record {
            row_day::by_record(timestamp)
        } else {
            row_day::by_event(time, timestamp, self.oldest)
        };
        let day = match found {
            Ok(day) => day,
            Err(why) => return Ok(Verdict::NoDay(why)),
        };
        let (unlisted, no_install) = match self.filters.judge(slots, time, scratch) {
            Found::Kept {
                unlisted,
                no_install,
            } => (unlisted, no_install),
            Found::Left => return Ok(Verdict::Left),
            Found::Dropped(filter) => return Ok(Verdict::Filtered(filter)),
        };
        let into = days.get(day, text)?;
        if let Some(text) = &mut into.text {
            let room = 2 * size + self.columns.len() * (MOST_PLAIN + 2 * self.more) + 64;
            if scratch.line.len() < room {
                scratch.line.resize(room, 0);
            }
            let mut line = std::mem::take(&mut scratch.line);
            let mut breaks = 0;
            let length = self.line(slots, scratch, &mut line, &mut breaks);
            if let Some(length) = length {
                text.extend_from_slice(&line[..length]);
            }
            scratch.line = line;
            if length.is_none() {
                return Ok(Verdict::Left);
            }
            into.ends.push((place, text.len()));
            into.line_breaks += breaks;
            into.unlisted += usize::from(unlisted);
            into.no_install += usize::from(no_install);
        }
        if into.rows == 0 {
            into.first = place;
        }
        into.rows += 1;
        into.last = place;
        Ok(Verdict::Kept)
    }

    /// The row's line, in room that is there; its length, or None where a cell is refused.
    #[inline]
    fn line(
        &self,
        slots: &[Slot<'_>],
        scratch: &mut Scratch,
        buf: &mut [u8],
        breaks: &mut usize,
    ) -> Option<usize> {
        let mut at = 0;
        for column in &self.columns {
            let slot = column.slot.map_or(Slot::Null, |slot| slots[slot]);
            let is_type = column.form == Form::EventType;
            at = if column.method.is_some() || (is_type && !self.finish.names.is_empty()) {
                self.finished(column, slot, scratch, buf, at, breaks)?
            } else {
                match slot {
                    Slot::Text(_) | Slot::Kept(..)
                        if is_type && self.finish.normal_types && !scratch.type_is_normal =>
                    {
                        self.text(buf, at, &scratch.normal, breaks)?
                    }
                    Slot::Text(text) => self.text(buf, at, text, breaks)?,
                    Slot::Kept(from, to) => {
                        self.text(buf, at, &scratch.kept[from as usize..to as usize], breaks)?
                    }
                    other => plain(column.form, other, buf, at),
                }
            };
            buf[at] = b',';
            at += 1;
        }
        if self.columns.len() == 1 && at == 1 {
            at = csv_text::text(buf, 0, b"")? + 1; // a blank line would be no row to most readers
        }
        buf[at - 1] = b'\n';
        Some(at)
    }

    /// A text cell whose line breaks may have to become blanks.
    #[inline(always)]
    fn text(&self, buf: &mut [u8], at: usize, text: &[u8], breaks: &mut usize) -> Option<usize> {
        if self.finish.spaces && has_breaks(text) {
            let mut cell = text.to_vec();
            blank_out(&mut cell);
            *breaks += 1;
            return csv_text::text(buf, at, &cell);
        }
        csv_text::text(buf, at, text)
    }

    /// A cell that has a name or a method: event names, line breaks, privacy, in this order.
    #[inline(never)]
    fn finished(
        &self,
        column: &Column,
        slot: Slot<'_>,
        scratch: &mut Scratch,
        buf: &mut [u8],
        at: usize,
        breaks: &mut usize,
    ) -> Option<usize> {
        if matches!(slot, Slot::Null) {
            return Some(at);
        }
        let mut cell = std::mem::take(&mut scratch.cell);
        cell.clear();
        match slot.text(&scratch.kept) {
            Some(text) if text.contains(&0) || !csv_text::is_text(text) => return None,
            Some(text) => cell.extend_from_slice(self.named(column, text, scratch)),
            None => {
                let end = plain(column.form, slot, buf, at);
                cell.extend_from_slice(&buf[at..end]);
            }
        }
        if self.finish.spaces && has_breaks(&cell) {
            blank_out(&mut cell);
            *breaks += 1;
        }
        let end = match column.method {
            Some(Method::Drop) => Some(at),
            Some(Method::Hash) => {
                self.finish.key.as_ref()?.hash(&mut cell);
                csv_text::text(buf, at, &cell)
            }
            Some(Method::TruncateIp) => {
                privacy::truncate_ip(&mut cell)?;
                csv_text::text(buf, at, &cell)
            }
            None => csv_text::text(buf, at, &cell),
        };
        scratch.cell = cell;
        end
    }

    /// The text of a cell, an event type's under the name that it has in the CSV.
    fn named<'t>(&'t self, column: &Column, text: &'t [u8], scratch: &'t Scratch) -> &'t [u8] {
        if column.form != Form::EventType {
            return text;
        }
        let compared = if scratch.type_is_normal {
            text
        } else {
            &scratch.normal[..]
        };
        match self.finish.names.get(compared) {
            Some(name) => name,
            None if self.finish.normal_types => compared,
            None => text,
        }
    }
}

/// A cell that is no text.
#[inline(always)]
fn plain(form: Form, slot: Slot<'_>, buf: &mut [u8], at: usize) -> usize {
    match slot {
        Slot::Long(number) => match form {
            Form::Instant => timestamps::instant(buf, at, number),
            Form::Date => timestamps::date(buf, at, number),
            _ => cells::long(buf, at, number),
        },
        Slot::Real(value) => cells::real(buf, at, value),
        Slot::Single(value) => cells::single(buf, at, value),
        Slot::Bool(true) => csv_text::put(buf, at, b"true"),
        Slot::Bool(false) => csv_text::put(buf, at, b"false"),
        Slot::Null | Slot::Text(_) | Slot::Kept(..) => at,
    }
}

fn has_breaks(text: &[u8]) -> bool {
    text.iter().fold(false, |found, byte| {
        found | (*byte == b'\n') | (*byte == b'\r')
    })
}

/// CR, LF and CRLF become one blank each.
fn blank_out(cell: &mut Vec<u8>) {
    let (mut to, mut from) = (0, 0);
    while from < cell.len() {
        let byte = cell[from];
        from += 1;
        if byte == b'\r' && cell.get(from) == Some(&b'\n') {
            from += 1;
        }
        cell[to] = if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        };
        to += 1;
    }
    cell.truncate(to);
}
