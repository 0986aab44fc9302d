//! What Python calls: an `Engine` by one set of row rules and for one header, and the `Batch` that it makes of records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::avro::{self, Field, Null, Program, Type, Writer};
use crate::cells::{self, Slot};
use crate::csv_text::put_all;
use crate::differences;
use crate::filters::Filters;
use crate::json::{self, Input, LONGEST_NAME, Object};
use crate::privacy::{Key, Method};
use crate::row_day::{NoDay, Oldest};
use crate::rows::{Column, Day, Days, Finish, Form, Row, Rules, Scratch, Timed, Verdict};
use crate::values::Kind;

/// What Python and this agree on to pass to each other; a new number with every change of it.
pub const INTERFACE: u32 = 4;
/// Bytes before the body where values name their schema.
const HEAD: usize = 5;
/// Buffers that are kept for the next batch, and the bytes of the largest.
const MOST_SPARE: usize = 8;
const LARGEST_SPARE: usize = 64 << 20;

/// Writers by schema id; 0 where values name none.
type Writers = Arc<HashMap<u32, Arc<Writer>>>;

/// A writer's type: its name, a size (-1 for none), a scale, symbols or names of fields, the types in it.
#[derive(FromPyObject)]
struct TypeSpec(String, i64, u32, Vec<String>, Vec<TypeSpec>);

/// A field: its type, what its column takes, where null stands (0 never, 1 first, 2 second), its slot or -1.
type FieldSpec = (TypeSpec, String, u8, i64);
/// A record: its fields, the columns it lacks with the text of their defaults, and columns with the slots of their
/// later inputs.
type ProgramSpec = (Vec<FieldSpec>, Vec<(usize, String)>, Vec<(usize, usize)>);

#[pyclass(frozen)]
pub struct Engine {
    rules: Rules,
    object: Option<Object>,
    head: usize,
    writers: Mutex<Writers>,
    spare: Mutex<Vec<Vec<u8>>>,
}

/// (the stream's column or -1, form, method or "")
type ColumnSpec = (i64, String, String);

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Spec {
    /// For each column of the object: the stream's column or -1, its form, what privacy does to it or "".
    columns: Vec<ColumnSpec>,
    slots: usize,
    time: usize,
    timed: String,
    by_record: bool,
    event_type: Option<usize>,
    profile: Option<usize>,
    install: Option<usize>,
    install_timed: String,
    environment: Option<usize>,
    before: Option<i64>,
    types: Vec<(String, bool)>,
    types_default: bool,
    environments: Vec<String>,
    listed: Vec<String>,
    oldest_day: Option<i64>,
    oldest_age: Option<i64>,
    event_names: Vec<(String, String)>,
    normal_types: bool,
    spaces: bool,
    /// The name and the bytes of the key that hashes.
    key: Option<(String, Vec<u8>)>,
    /// Bytes before each body: 5 where values name their schema.
    head: usize,
    /// For JSON each known input name: (name, column or -1, kind, rank).
    inputs: Option<Vec<(String, i64, String, u8)>>,
    /// Columns that are filled where a record has none of their inputs, and with which text.
    defaults: Vec<(usize, String)>,
}

fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("not a {what}: {name}"))
}

fn timed(name: &str) -> PyResult<Timed> {
    Ok(match name {
        "micros" => Timed::Micros,
        "days" => Timed::Days,
        "epoch" => Timed::Epoch,
        "text" => Timed::Text,
        _ => return Err(unknown("time", name)),
    })
}

fn column((slot, form, method): ColumnSpec) -> PyResult<Column> {
    let form = match form.as_str() {
        "plain" => Form::Plain,
        "instant" => Form::Instant,
        "date" => Form::Date,
        "event-type" => Form::EventType,
        _ => return Err(unknown("form", &form)),
    };
    Ok(Column {
        slot: usize::try_from(slot).ok(),
        form,
        method: Method::named(&method),
    })
}

fn input((name, column, kind, rank): (String, i64, String, u8)) -> PyResult<Input> {
    Ok(Input {
        name: name.into_bytes(),
        column: usize::try_from(column).ok(),
        kind: Kind::named(&kind).ok_or_else(|| unknown("kind", &kind))?,
        rank,
    })
}

fn written_as(TypeSpec(name, size, scale, words, parts): TypeSpec) -> PyResult<Type> {
    let parts = parts.into_iter().map(written_as).collect::<PyResult<_>>()?;
    Type::named(&name, size, scale, words, parts).ok_or_else(|| unknown("type", &name))
}

fn defaults(found: Vec<(usize, String)>) -> Vec<(usize, Vec<u8>)> {
    found
        .into_iter()
        .map(|(column, text)| (column, text.into_bytes()))
        .collect()
}

fn bytes(texts: Vec<String>) -> Vec<Vec<u8>> {
    texts.into_iter().map(String::into_bytes).collect()
}

/// What a panic of another call left is as good as before: nothing is half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Engine {
    #[new]
    fn new(spec: Spec) -> PyResult<Self> {
        let install_timed = timed(&spec.install_timed)?;
        let filters = Filters {
            event_type: spec.event_type,
            profile: spec.profile,
            install: spec.install.map(|at| (at, install_timed)),
            environment: spec.environment,
            before: spec.before,
            types: spec
                .types
                .into_iter()
                .map(|(name, keep)| (name.into_bytes(), keep))
                .collect(),
            types_default: spec.types_default,
            environments: bytes(spec.environments),
            listed: bytes(spec.listed).into_iter().collect(),
        };
        let names = spec.event_names.into_iter();
        let finish = Finish {
            names: names
                .map(|(kind, name)| (kind.into_bytes(), name.into_bytes()))
                .collect(),
            normal_types: spec.normal_types,
            spaces: spec.spaces,
            key: spec.key.map(|(name, key)| Key::new(&name, &key)),
        };
        let rules = Rules {
            columns: spec
                .columns
                .into_iter()
                .map(column)
                .collect::<PyResult<_>>()?,
            slots: spec.slots,
            filters,
            time: (spec.time, timed(&spec.timed)?),
            by_record: spec.by_record,
            oldest: Oldest {
                day: spec.oldest_day,
                age: spec.oldest_age,
            },
            more: finish.more(),
            finish,
        };
        let inputs = spec
            .inputs
            .map(|inputs| inputs.into_iter().map(input).collect::<PyResult<_>>());
        Ok(Engine {
            rules,
            object: inputs
                .transpose()?
                .map(|inputs| Object::new(inputs, defaults(spec.defaults))),
            head: spec.head,
            writers: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// How Avro bodies of this schema id are read: a record, or a union of records (None for what is none).
    fn learn(&self, id: u32, union: bool, programs: Vec<Option<ProgramSpec>>) -> PyResult<()> {
        let programs = programs
            .into_iter()
            .map(|one| one.map(|spec| self.program(spec)).transpose())
            .collect::<PyResult<_>>()?;
        let writer = Arc::new(Writer { union, programs });
        Arc::make_mut(&mut *lock(&self.writers)).insert(id, writer);
        Ok(())
    }

    /// The batch that these values make; None and empty ones are passed over. `wanted(day)` says whether a day's text is
    /// needed.
    fn transform(
        &self,
        py: Python<'_>,
        values: &Bound<'_, PyList>,
        timestamps: Vec<i64>,
        wanted: &Bound<'_, PyAny>,
    ) -> PyResult<Batch> {
        let held = values
            .iter()
            .map(|item| {
                Ok(if item.is_none() {
                    None
                } else {
                    Some(item.cast_into::<PyBytes>()?)
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let bodies: Vec<Option<&[u8]>> = held
            .iter()
            .map(|one| one.as_ref().map(|value| value.as_bytes()))
            .collect();
        let wanted = wanted.clone().unbind();
        py.detach(|| match &self.object {
            Some(object) => self.json(object, &bodies, &timestamps, &wanted),
            None => self.avro(&bodies, &timestamps, &wanted),
        })
    }
}

impl Engine {
    fn program(&self, (fields, absent, later): ProgramSpec) -> PyResult<Program> {
        let made = fields
            .into_iter()
            .map(|one| self.field(one))
            .collect::<PyResult<Vec<_>>>()?;
        let defaults = defaults(absent);
        let longest: usize = made.iter().map(Field::longest_symbol).sum();
        let texts: usize = defaults.iter().map(|(_, text)| text.len()).sum();
        Ok(Program {
            fields: made,
            defaults,
            more: longest + texts,
            slots: self.rules.slots + later.len(),
            later,
        })
    }

    fn field(&self, (spec, kind, null, slot): FieldSpec) -> PyResult<Field> {
        let slot = usize::try_from(slot).ok();
        let null = match null {
            0 => Null::Never,
            1 => Null::First,
            _ => Null::Second,
        };
        let written = slot.is_some() && self.rules.columns.iter().any(|one| one.slot == slot);
        let kind = Kind::named(&kind).ok_or_else(|| unknown("kind", &kind))?;
        Ok(Field::new(written_as(spec)?, kind, null, slot, written))
    }

    /// A buffer for the text of a day, where it is wanted.
    fn buffer(&self, day: i64, wanted: &Py<PyAny>) -> PyResult<Option<Vec<u8>>> {
        let wanted = Python::attach(|py| wanted.bind(py).call1((day,))?.extract::<bool>())?;
        Ok(wanted.then(|| lock(&self.spare).pop().unwrap_or_default()))
    }

    /// Keep a buffer's room for a later day.
    fn spare(&self, mut buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < MOST_SPARE && buffer.capacity() <= LARGEST_SPARE {
            buffer.clear();
            spare.push(buffer);
        }
    }

    fn avro(
        &self,
        bodies: &[Option<&[u8]>],
        timestamps: &[i64],
        wanted: &Py<PyAny>,
    ) -> PyResult<Batch> {
        let writers = lock(&self.writers).clone();
        let mut found = Found::default();
        let mut scratch = Scratch::default();
        let mut slots = vec![Slot::Null; self.rules.slots];
        let mut current: Option<(u32, &Writer)> = None;
        let mut filled: Option<(u32, usize)> = None;
        for (place, (body, timestamp)) in bodies.iter().zip(timestamps).enumerate() {
            let Some(value) = body.filter(|value| !value.is_empty()) else {
                continue;
            };
            let mut id = 0;
            if self.head > 0 {
                match value.first_chunk::<HEAD>() {
                    Some([0, rest @ ..]) => id = u32::from_be_bytes(*rest),
                    _ => {
                        found.left.push((place, "wire_format"));
                        continue;
                    }
                }
            }
            let writer = match current {
                Some((same, writer)) if same == id => writer,
                _ => {
                    let Some(writer) = writers.get(&id) else {
                        found.left.push((place, "schema"));
                        continue;
                    };
                    current = Some((id, writer));
                    writer
                }
            };
            let body = &value[self.head..];
            let Some((program, branch, start)) = writer.program(body) else {
                found.left.push((place, "undecodable"));
                continue;
            };
            if filled != Some((id, branch)) {
                filled = Some((id, branch));
                program.fill(&mut slots);
            }
            let body = &body[start..];
            if avro::decode(program, body, &mut slots, &mut scratch.kept).is_none() {
                found.left.push((place, "undecodable"));
                continue;
            }
            let size = body.len() + program.more + scratch.kept.len();
            let row = Row {
                slots: &slots,
                timestamp: *timestamp,
                place: place as u32,
                size,
            };
            if self.judge(row, &mut found, &mut scratch, wanted)? {
                found.decoded(id, branch);
            }
        }
        Ok(found.batch())
    }

    fn json(
        &self,
        object: &Object,
        bodies: &[Option<&[u8]>],
        timestamps: &[i64],
        wanted: &Py<PyAny>,
    ) -> PyResult<Batch> {
        let mut found = Found::default();
        let mut scratch = Scratch::default();
        let mut slots = vec![Slot::Null; self.rules.slots];
        let mut memory = object.memory(self.rules.slots);
        for (place, (body, timestamp)) in bodies.iter().zip(timestamps).enumerate() {
            let Some(value) = body.filter(|value| !value.is_empty()) else {
                continue;
            };
            if self.head > 0 && (value.len() < HEAD || value[0] != 0) {
                found.left.push((place, "wire_format"));
                continue;
            }
            let body = &value[self.head..];
            if json::decode(object, body, &mut slots, &mut memory, &mut scratch.kept).is_none() {
                found.left.push((place, "odd_value"));
                continue;
            }
            let size = body.len() + object.more + scratch.kept.len();
            let row = Row {
                slots: &slots,
                timestamp: *timestamp,
                place: place as u32,
                size,
            };
            if self.judge(row, &mut found, &mut scratch, wanted)? {
                found.unknown_names(&memory.unknown);
            }
        }
        Ok(found.batch())
    }

    /// Judge a row; whether its verdict stands here.
    #[inline]
    fn judge(
        &self,
        row: Row<'_>,
        found: &mut Found,
        scratch: &mut Scratch,
        wanted: &Py<PyAny>,
    ) -> PyResult<bool> {
        let place = row.place as usize;
        let verdict = self
            .rules
            .judge(row, &mut found.days, scratch, &mut |day| {
                self.buffer(day, wanted)
            })?;
        match verdict {
            Verdict::Kept => {}
            Verdict::Left => {
                found.left.push((place, "odd_value"));
                return Ok(false);
            }
            Verdict::NoDay(NoDay::NoTime) => found.quarantined.push((place, "no_time")),
            Verdict::NoDay(NoDay::OutOfRange) => {
                found.quarantined.push((place, "day_out_of_range"))
            }
            Verdict::Filtered(filter) => found.filtered[filter as usize] += 1,
        }
        Ok(true)
    }
}

/// What is found out about a batch while it is read.
#[derive(Default)]
struct Found {
    left: Vec<(usize, &'static str)>,
    quarantined: Vec<(usize, &'static str)>,
    filtered: [usize; 4],
    unknown: HashMap<String, usize>,
    by_schema: Vec<(u32, usize, usize)>,
    days: Days,
}

impl Found {
    fn decoded(&mut self, id: u32, branch: usize) {
        let same = |one: &(u32, usize, usize)| (one.0, one.1) == (id, branch);
        match self.by_schema.last_mut() {
            Some(one) if same(one) => one.2 += 1,
            _ => match self.by_schema.iter_mut().find(|one| same(one)) {
                Some(one) => one.2 += 1,
                None => self.by_schema.push((id, branch, 1)),
            },
        }
    }

    /// Count a record's unknown names, as labels, each once.
    fn unknown_names(&mut self, names: &[Vec<u8>]) {
        let mut labels: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let name = String::from_utf8_lossy(name);
            let label: String = name.chars().take(LONGEST_NAME).collect();
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        for label in labels {
            *self.unknown.entry(label).or_default() += 1;
        }
    }

    fn batch(mut self) -> Batch {
        let mut days = std::mem::take(&mut self.days).list;
        days.retain(|one| one.rows > 0);
        Batch {
            found: self,
            days: Mutex::new(days),
        }
    }
}

/// What a batch became. The text of its days stays here until it is asked for.
#[pyclass(frozen)]
pub struct Batch {
    found: Found,
    days: Mutex<Vec<Day>>,
}

#[pymethods]
impl Batch {
    /// (place, why) of the values that the exact engine must judge.
    #[getter]
    fn left(&self) -> Vec<(usize, &'static str)> {
        self.found.left.clone()
    }

    /// (place, reason) of the values that have no day.
    #[getter]
    fn quarantined(&self) -> Vec<(usize, &'static str)> {
        self.found.quarantined.clone()
    }

    /// How many each of the filters dropped, in their order.
    #[getter]
    fn filtered(&self) -> [usize; 4] {
        self.found.filtered
    }

    /// How many records had each unknown name.
    #[getter]
    fn unknown(&self) -> HashMap<String, usize> {
        self.found.unknown.clone()
    }

    /// (schema id, branch of a union at the top or 0, how many records were judged that have it)
    #[getter]
    fn by_schema(&self) -> Vec<(u32, usize, usize)> {
        self.found.by_schema.clone()
    }

    /// (day, rows, first place, last place, unlisted event types, rows without install date, cells with line breaks)
    #[getter]
    fn days(&self) -> Vec<(i64, usize, u32, u32, usize, usize, usize)> {
        lock(&self.days)
            .iter()
            .map(|one| {
                (
                    one.day,
                    one.rows,
                    one.first,
                    one.last,
                    one.unlisted,
                    one.no_install,
                    one.line_breaks,
                )
            })
            .collect()
    }

    /// The text of a day, with `lines` (by place, in order) put in where they belong; once. `engine` gets the room back.
    fn text<'py>(
        &self,
        py: Python<'py>,
        engine: &Engine,
        day: i64,
        lines: Vec<(u32, Bound<'py, PyBytes>)>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut days = lock(&self.days);
        let Some(one) = days.iter_mut().find(|one| one.day == day) else {
            return Err(unknown("day", &day.to_string()));
        };
        let text = one.text.take().unwrap_or_default();
        let more: usize = lines.iter().map(|(_, line)| line.as_bytes().len()).sum();
        let made = PyBytes::new_with(py, text.len() + more, |into| {
            let (mut from, mut to) = (0, 0);
            for (place, line) in &lines {
                let row = one.ends.partition_point(|(at, _)| at < place);
                let end = if row == 0 { 0 } else { one.ends[row - 1].1 };
                to = put_all(into, to, &text[from..end]);
                to = put_all(into, to, line.as_bytes());
                from = end;
            }
            put_all(into, to, &text[from..]);
            Ok(())
        })?;
        engine.spare(text);
        Ok(made)
    }
}

/// One double as a cell.
#[pyfunction]
pub fn real_text(value: f64) -> Option<String> {
    written(value.is_finite(), |buf| cells::real(buf, 0, value))
}

/// One float as a cell.
#[pyfunction]
pub fn single_text(value: f32) -> Option<String> {
    written(value.is_finite(), |buf| cells::single(buf, 0, value))
}

fn written(finite: bool, write: impl FnOnce(&mut [u8]) -> usize) -> Option<String> {
    let mut buf = [0; cells::MOST_PLAIN];
    finite.then(|| {
        let end = write(&mut buf);
        String::from_utf8_lossy(&buf[..end]).into_owned()
    })
}

/// How many rows came and went between two texts; None where that is for the exact path to say.
#[pyfunction]
pub fn comings_and_goings(py: Python<'_>, before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    py.detach(|| differences::comings_and_goings(before, after))
}

/// How many cells of each column differ between two texts of the same rows; None where that is for the exact path to say.
#[pyfunction]
pub fn other_cells(
    py: Python<'_>,
    before: &[u8],
    after: &[u8],
    columns: usize,
) -> Option<Vec<usize>> {
    py.detach(|| differences::other_cells(before, after, columns))
}
