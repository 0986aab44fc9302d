//! Whatever comes, the crate neither panics nor goes beyond its room, and what it accepts is what was meant.
//! `PROPTEST_CASES=100000` for a campaign.

use adapty_sink_native::avro::{self, Field, Null, Program, Stamp, Type, Writer};
use adapty_sink_native::cells::{self, MOST_PLAIN, Slot};
use adapty_sink_native::csv_text;
use adapty_sink_native::differences;
use adapty_sink_native::json::{self, Input, Object};
use adapty_sink_native::timestamps::{self, FIRST_MICROS, LAST_MICROS, Unit};
use adapty_sink_native::values::Kind;
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [Kind; 14] = [
    Kind::Text,
    Kind::Json,
    Kind::Any,
    Kind::Integer,
    Kind::Real,
    Kind::Real32,
    Kind::Boolean,
    Kind::Time,
    Kind::Decimal,
    Kind::Instant(Unit::Magnitude),
    Kind::Instant(Unit::Nanos),
    Kind::Date(Unit::Magnitude),
    Kind::Date(Unit::Days),
    Kind::Day(Unit::Magnitude),
];

fn leaf() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::Null),
        Just(Type::Boolean),
        Just(Type::Long),
        Just(Type::Float),
        Just(Type::Double),
        Just(Type::Text),
        Just(Type::Stamp(Stamp::Millis)),
        Just(Type::Stamp(Stamp::Nanos)),
        Just(Type::Date),
        Just(Type::Time(1_000)),
        Just(Type::Bytes(None)),
        (0usize..5).prop_map(|size| Type::Bytes(Some(size))),
        Just(Type::Uuid),
        (0u32..60).prop_map(|scale| Type::Decimal(None, scale)),
        Just(Type::BigDecimal),
        Just(Type::Symbol(vec![b"A".to_vec(), b"B".to_vec()])),
        Just(Type::Other),
    ]
}

fn any_type() -> impl Strategy<Value = Type> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(Type::Union),
            inner.clone().prop_map(|item| Type::Array(Box::new(item))),
            inner.clone().prop_map(|item| Type::Map(Box::new(item))),
            vec(inner, 0..3).prop_map(|parts| {
                let named = parts.into_iter().enumerate();
                Type::Record(
                    named
                        .map(|(at, part)| (vec![b'a' + at as u8], part))
                        .collect(),
                )
            }),
        ]
    })
}

/// Bytes as Avro is likely to have them: small counts and lengths, text, now and then anything.
fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![4 => 0u8..8, 2 => b'a'..b'f', 1 => any::<u8>()],
        0..80,
    )
}

/// JSON, mostly.
fn text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,22}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "\"[a-z0-9:.TZ+ -]{0,30}\"",
        "\"(\\\\u[0-9a-fD]{4}|\\\\n|é|,)*\"",
        "[\\[\\]{}:,\" ]{1,3}",
    ];
    let value = scalar.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(" ,"))),
            vec(inner, 0..3).prop_map(|all| {
                let pairs: Vec<String> = all
                    .iter()
                    .enumerate()
                    .map(|(at, one)| format!("\"k{}\": {one}", at % 2))
                    .collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    });
    ("[xyz]", value).prop_map(|(name, value)| format!("{{\"{name}\":{value}}}"))
}

/// Slots point into the record or its store, and their text is UTF-8 where nobody looks again.
fn check(slots: &[Slot<'_>], kept: &[u8]) {
    for slot in slots {
        if let Slot::Kept(from, to) = slot {
            assert!(std::str::from_utf8(&kept[*from as usize..*to as usize]).is_ok());
        }
        if let Slot::Real(value) = slot {
            assert!(value.is_finite());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_of_any_type(written_as in any_type(), kind in 0..KINDS.len(), body in body()) {
        let field = Field::new(written_as, KINDS[kind], Null::Never, Some(0), false);
        let program = Program { fields: vec![field], defaults: vec![], later: vec![], more: 0, slots: 1 };
        let (mut slots, mut kept) = (Vec::new(), Vec::new());
        program.fill(&mut slots);
        let found = avro::decode(&program, &body, &mut slots, &mut kept);
        prop_assert!(kept.len() <= 96 * (body.len() + 1_100)); // nulls of a list, decimals of no bytes
        if found.is_some() {
            check(&slots, &kept);
            if let Slot::Text(text) = slots[0] {
                prop_assert!(std::str::from_utf8(text).is_ok());
            }
        }
    }

    #[test]
    fn any_branch(body in body()) {
        let program = |written_as| {
            let field = Field::new(written_as, Kind::Any, Null::First, None, false);
            Some(Program { fields: vec![field], defaults: vec![], later: vec![], more: 0, slots: 0 })
        };
        let writer = Writer { union: true, programs: vec![None, program(Type::Long), program(Type::Text)] };
        if let Some((program, branch, start)) = writer.program(&body) {
            prop_assert!((1..3).contains(&branch) && (1..=body.len()).contains(&start));
            let _ = avro::decode(program, &body[start..], &mut [], &mut Vec::new());
        }
    }

    #[test]
    fn any_json(text in text(), kind in 0..KINDS.len()) {
        let input = |name: &str, column, rank| Input { name: name.into(), column, kind: KINDS[kind], rank };
        let object = Object::new(vec![input("x", Some(0), 0), input("y", Some(0), 1), input("w", None, 0)], vec![(0, b"d".to_vec())]);
        let (mut slots, mut kept, mut memory) = ([Slot::Null], Vec::new(), object.memory(1));
        for _ in 0..2 {
            if json::decode(&object, text.as_bytes(), &mut slots, &mut memory, &mut kept).is_some() {
                check(&slots, &kept);
            }
            prop_assert!(kept.len() <= 6 * text.len());
        }
    }

    #[test]
    fn any_cell_is_read_back(cell in vec(any::<char>(), 0..60)) {
        let cell: String = cell.into_iter().collect();
        let mut room = vec![0; 2 * cell.len() + 64];
        match csv_text::text(&mut room, 0, cell.as_bytes()) {
            None => prop_assert!(cell.contains('\0')),
            Some(end) => {
                let text = std::str::from_utf8(&room[..end]).unwrap();
                let inner = text.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap().replace("\"\"", "\""));
                prop_assert_eq!(inner.as_deref().unwrap_or(text), &cell);
                prop_assert_eq!(text.starts_with('"'), cell.is_empty() || cell.contains([',', '"', '\r', '\n']));
            }
        }
    }

    #[test]
    fn any_instant_is_read_back(micros in FIRST_MICROS..=LAST_MICROS) {
        let mut room = [0; 32];
        prop_assert_eq!(timestamps::instant(&mut room, 0, micros), 32);
        prop_assert_eq!(timestamps::instant_from(&room, Unit::Magnitude), Some(micros));
    }

    #[test]
    fn any_number_is_read_back(number in any::<i64>(), real in any::<f64>(), single in any::<f32>()) {
        let mut room = [0; MOST_PLAIN];
        let end = cells::long(&mut room, 0, number);
        prop_assert_eq!(std::str::from_utf8(&room[..end]).unwrap().parse(), Ok(number));
        if real.is_finite() {
            let end = cells::real(&mut room, 0, real);
            prop_assert_eq!(std::str::from_utf8(&room[..end]).unwrap().parse(), Ok(real));
        }
        if single.is_finite() {
            let end = cells::single(&mut room, 0, single);
            prop_assert_eq!(std::str::from_utf8(&room[..end]).unwrap().parse(), Ok(single));
        }
    }

    #[test]
    fn any_text_as_a_time(text in "-?[0-9T:. +Z-]{0,32}", unit in 0..5usize) {
        let unit = [Unit::Magnitude, Unit::Days, Unit::Millis, Unit::Micros, Unit::Nanos][unit];
        let _ = timestamps::day_from(text.as_bytes(), unit);
        if let Some(micros) = timestamps::instant_from(text.as_bytes(), unit) {
            prop_assert!((FIRST_MICROS..=LAST_MICROS).contains(&micros));
        }
    }

    #[test]
    fn any_two_texts_of_rows(before in "[a,\"\n]{0,24}", after in "[a,\"\n]{0,24}", columns in 0..4usize) {
        let _ = differences::comings_and_goings(before.as_bytes(), after.as_bytes());
        if let Some(found) = differences::other_cells(before.as_bytes(), after.as_bytes(), columns) {
            prop_assert_eq!(found.iter().all(|one| *one == 0), before == after);
        }
    }
}
