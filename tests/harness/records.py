"""Records of the four kinds in the three formats, each with what must become of it.

The values come from pools of (what the producer sends, the cell that it must become), so that nothing is decoded here.
"""

import io
import json
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import fastavro

from tests.harness import cells

SCHEMAS = Path(__file__).parents[2] / "schemas"
ABSENT = object()
"""The field is not in the record at all."""
MARK = "~\x7f~\x7f"
"""Becomes text with a byte that is no UTF-8 after encoding, of the same length."""
SPOILT = b"~\xff~\x7f"
DAY_MICROS = cells.DAY_MICROS
_POOL = 64
_SLOT = _POOL.bit_length() - 1

Pair = tuple[Any, str]
"""What the producer sends, and its cell."""
Form = Literal["avro", "avro-registry", "json"]
Fate = Literal["row", "bad", "tombstone"]


@dataclass(frozen=True, slots=True)
class Made:
    """One record to be sent. `day` is that of its row, or of its record where it is bad.

    `drops` names the filters that drop it if they are on, in the order in which they apply. `line` is its CSV line.
    """

    key: bytes | None
    value: bytes | None
    timestamp: int
    fate: Fate
    day: date
    line: bytes = b""
    drops: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the harness must know of a kind: `id` is the column that names a row, `drops` the filters that apply.

    `fat` is a column for text of any size.
    """

    name: str
    time: str
    id: str
    fat: str
    drops: tuple[str, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """The shipped schema."""
        found: dict[str, Any] = json.loads((SCHEMAS / f"{self.name}.avsc").read_text())
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in order."""
        return tuple(each["name"] for each in self.schema["fields"])


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "events",
            "event_datetime",
            "transaction_id",
            "device",
            ("event_type", "profile", "historical", "environment"),
        ),
        Kind("paywall_views", "paywall_showed_at", "customer_user_id", "ab_test_name", ("profile", "historical")),
        Kind("ua_events", "event_datetime", "ad_id", "device", ("event_type", "profile", "historical")),
        Kind("ua_campaign_metrics", "date", "ad_id", "ad_name", ()),
    )
}

HISTORICAL_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
"""For `ua_events`: before this a row is historical."""
LONG_AGO = date(2019, 5, 6)

NASTY = [
    "", "NA", "null", "NULL", "nan", " leading", "trailing ", 'say "hi"', "a,b", "line\nbreak", "cr\rlf\r\n", "\\N",
    "=1+1", "+1", "-2", "@x", "1234e567", "17.10", "120209639320320333", "\u2028\u2029\u0085\x0b\x0c", "na\u00efve",
    "\U0001f1e8\U0001f1ed flag", "nul\0inside", "'", ";", "\t", "NaN,", '"', ",", "\n", f"bad {MARK} byte",
    "x" * 300, "[iOS] weekly $9.99 (trial / no trial)",
]  # fmt: skip
REALS = [
    7.0, 0.0, -0.0, 109.88999999999999, -45.48262359934814, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, float("nan"),
    float("inf"), -349.29999999999995, 0.1, 123456789012345680.0, 1e16, 9999999999999998.0, 1e-5, 0.00001234, 2.5,
]  # fmt: skip
INTEGERS = [1, 0, -1, 2, 2147483647, -2147483648, 17]
LONGS = [*INTEGERS, 9223372036854775807, -9223372036854775808, 1_700_000_000_000]
INSTANTS = [
    1721051118755258, 0, -1, 1, 1721051118000000, 4102444800000000, 253402300799999999, 253402300800000000,
    -62135596800000000, 1609459199999999,
]  # fmt: skip


def seen(text: str) -> str:
    """A text as it must be read: a byte that is no UTF-8 is replaced."""
    return text.replace(MARK, SPOILT.decode(errors="replace"))


def _texts() -> list[Pair]:
    return [(None, ""), *((text, cells.text(seen(text))) for text in NASTY)]


def _avro_pool(column: str, kind: str, rng: random.Random) -> list[Pair]:
    by_kind: dict[str, list[Pair]] = {
        "text": [(f"{column}-{n}", f"{column}-{n}") for n in range(40)],
        "real": [(x, cells.real(x)) for x in (rng.uniform(-500, 500) for _ in range(40))],
        "int": [(n, str(n)) for n in range(1, 30)],
        "long": [(n, str(n)) for n in range(1, 30)],
        "instant": [(m, cells.instant(m)) for m in (rng.randrange(15 * 10**14, 18 * 10**14) for _ in range(40))],
        "date": [(n, cells.day(n)) for n in range(20000, 20030)],
    }
    plain = by_kind[kind]
    odd: list[Pair] = {
        "text": _texts(),
        "real": [(None, ""), *((x, cells.real(x)) for x in REALS)],
        "int": [(None, ""), *((n, str(n)) for n in INTEGERS)],
        "long": [(None, ""), *((n, str(n)) for n in LONGS)],
        "instant": [(None, ""), *((m, cells.instant(m)) for m in INSTANTS)],
        "date": [(None, ""), (0, "1970-01-01")],
    }[kind]
    return _filled(plain, odd, rng)


def _filled(plain: Sequence[Pair], odd: Sequence[Pair], rng: random.Random) -> list[Pair]:
    """Mostly plain values, some null, a few odd ones."""
    nulls = [pair for pair in odd if pair[0] is None] * 8
    made = [*nulls, *rng.sample(list(odd), min(12, len(odd)))]
    return [*made, *(rng.choice(list(plain)) for _ in range(_POOL - len(made)))]


def _json_pool(column: str, kind: str, rng: random.Random) -> list[Pair]:
    odd: list[Pair] = {
        "text": [*_texts(), (7, "7"), (1.5, "1.5"), (True, "true"), ("\ud83d!", "\ufffd!")],
        "real": [
            (None, ""), (7, "7.0"), ("9.99", "9.99"), ("9,99", '"9,99"'), ("USD 9", "USD 9"), (-0.0, "0.0"),
            (1e22, "10000000000000000000000.0"), (float("nan"), ""), ("", '""'), (0, "0.0"),
        ],
        "int": [(None, ""), ("1", "1"), (1.0, "1"), ("rev-A", "rev-A"), (3.7, "3.7"), ("2.0", "2"), ("", '""')],
        "long": [(None, ""), ("12", "12"), (9223372036854775807, "9223372036854775807"), (0.5, "0.5")],
        "instant": [
            (None, ""), ("2024-07-15T13:45:18.755258+0000", "2024-07-15T13:45:18.755258+00:00"),
            ("2024-07-16T02:00:00+05:30", "2024-07-15T20:30:00.000000+00:00"),
            ("2024-07-15", "2024-07-15T00:00:00.000000+00:00"), (1721051118, "2024-07-15T13:45:18.000000+00:00"),
            ("1721051118755", "2024-07-15T13:45:18.755000+00:00"), ("not a time", "not a time"),
            ("2024-07-15T23:59:60Z", "2024-07-15T23:59:59.999999+00:00"),
        ],
        "date": [(None, ""), ("2024-07-15", "2024-07-15")],
        "json": [
            (None, ""), ({"variant": "A", "n": 1}, '"{""variant"":""A"",""n"":1}"'), ({}, "{}"),
            ('{"a":  1}', '"{""a"":  1}"'), ("plain", "plain"),
        ],
    }[kind]  # fmt: skip
    plain = [(f"{column} {n}", f"{column} {n}") for n in range(20)]
    typed = plain if kind in {"text", "json"} else [(_as_json(kind, v), c) for v, c in _plain_typed(kind, rng)]
    return _filled(typed, [*odd, (ABSENT, "")], rng)


def _plain_typed(kind: str, rng: random.Random) -> list[Pair]:
    return [pair for pair in _avro_pool("", kind, rng) if pair[0] is not None and pair[1]]


def _as_json(kind: str, value: Any) -> Any:
    if kind == "instant":
        return cells.instant(value)
    return cells.day(value) if kind == "date" else value


def _kind_of(schema: Any) -> str:
    branch = next(each for each in schema if each != "null") if isinstance(schema, list) else schema
    if isinstance(branch, dict):
        return {"timestamp-micros": "instant", "date": "date"}[branch["logicalType"]]
    return {"string": "text", "double": "real", "int": "int", "long": "long"}[branch]


@dataclass(slots=True)
class Writer:
    """One way a producer writes: the pools of its columns, how it sends an instant, how it encodes a record."""

    pools: dict[str, list[Pair]]
    time: Callable[[int], Any]
    encode: Callable[[dict[str, Any]], bytes]
    gone: frozenset[str] = field(default_factory=frozenset)


def _avro_encoder(schema: Mapping[str, Any], head: bytes = b"") -> Callable[[dict[str, Any]], bytes]:
    parsed = fastavro.parse_schema(dict(schema))

    def encode(values: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(head)
        fastavro.schemaless_writer(out, parsed, values)
        return out.getvalue().replace(MARK.encode(), SPOILT)

    return encode


def _json_encoder(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode().replace(json.dumps(MARK)[1:-1].encode(), SPOILT)


def plain_writer(kind: Kind, rng: random.Random, head: bytes = b"") -> Writer:
    """As the shipped schema says."""
    pools = {each["name"]: _avro_pool(each["name"], _kind_of(each["type"]), rng) for each in kind.schema["fields"]}
    return Writer(pools, _same, _avro_encoder(kind.schema, head))


def json_writer(kind: Kind, rng: random.Random) -> Writer:
    """JSON in the shapes of published webhooks."""
    pools = {}
    for each in kind.schema["fields"]:
        shape = "json" if each["name"] == "custom_parameters" else _kind_of(each["type"])
        pools[each["name"]] = _json_pool(each["name"], shape, rng)

    def time(micros: int) -> Any:
        return _JSON_TIMES[rng.randrange(len(_JSON_TIMES))](micros)

    def encode(values: dict[str, Any]) -> bytes:
        present = {name: value for name, value in values.items() if value is not ABSENT}
        if present.get("profile_county") and rng.random() < 0.2:
            present["profile_country"] = present.pop("profile_county")
        if rng.random() < 0.05:
            present["added_by_producer"] = {"deep": [1, 2, {"x": None}]}
        return _json_encoder(present)

    return Writer(pools, time, encode)


def _same(micros: int) -> Any:
    return micros


def _shifted(micros: int) -> str:
    local = cells.EPOCH + timedelta(microseconds=micros, hours=5, minutes=30)
    return local.strftime("%Y-%m-%dT%H:%M:%S.%f+05:30")


_JSON_TIMES: list[Callable[[int], Any]] = [
    lambda micros: cells.instant(micros).replace("+00:00", "+0000"),
    lambda micros: cells.instant(micros).replace("+00:00", "Z"),
    cells.instant,
    _shifted,
    lambda micros: micros,
    str,
]


def writer_schemas(kind: Kind) -> list[dict[str, Any]]:
    """The shipped schema as four producers have it: as it is; reordered and with more; with less; with other types."""
    shipped = kind.schema
    fields = shipped["fields"]
    more = [
        {"name": "added_map", "type": {"type": "map", "values": "string"}},
        {"name": "added_kind", "type": {"type": "enum", "name": "AddedKind", "symbols": ["A", "B"]}},
        *reversed(fields),
        {"name": "added_list", "type": ["null", {"type": "array", "items": "long"}]},
    ]
    less = [each for n, each in enumerate(fields) if n % 5 or each["name"] in _kept(kind)]
    return [
        shipped,
        {**shipped, "fields": more},
        {**shipped, "fields": less},
        {**shipped, "fields": [{**each, "type": _promoted(n, each["type"])} for n, each in enumerate(fields)]},
    ]


def _kept(kind: Kind) -> set[str]:
    return {kind.time, kind.id, "event_type", "profile_id", "install_date", "environment"}


def _promoted(n: int, schema: Any) -> Any:
    """The types that a producer may write for it, and a reader takes."""
    shape = _kind_of(schema)
    other: Any = {
        "text": "string",
        "real": ["int", "long", "float"][n % 3],
        "int": "long",
        "long": "int",
        "instant": {"type": "long", "logicalType": "timestamp-millis"},
        "date": {"type": "int", "logicalType": "date"},
    }[shape]
    return ["null", other] if isinstance(schema, list) else other


def _promoted_pool(column: str, n: int, schema: Any, rng: random.Random) -> list[Pair]:
    shape = _kind_of(schema)
    if shape == "text":
        pairs = _avro_pool(column, "text", rng)
        whole = [(v, c) for v, c in pairs if v is None or MARK not in v]
        return [*whole, *[(None, "")] * _POOL][:_POOL]
    if shape == "real":
        numbers: list[float] = [1, 0, -7, 1000] if n % 3 < 2 else [0.5, -2.25, 1e20, 0.0]
        return _filled([(x, cells.real(float(_float32(x) if n % 3 == 2 else x))) for x in numbers], [(None, "")], rng)
    if shape == "instant":
        return _filled([(m // 1000, cells.instant(m)) for m in (1721051118755000, 0, -1000)], [(None, "")], rng)
    return _avro_pool(column, "int" if shape in {"int", "long"} else shape, rng)


def _float32(value: float) -> float:
    import struct  # noqa: PLC0415 - here alone

    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def registry_writers(kind: Kind, rng: random.Random, ids: Sequence[int]) -> list[Writer]:
    """Producers whose schemas are registered under these ids, in the order of `writer_schemas`."""
    made = []
    for n, (schema, schema_id) in enumerate(zip(writer_schemas(kind), ids, strict=True)):
        head = b"\0" + schema_id.to_bytes(4, "big")
        writer = plain_writer(kind, rng, head)
        writer.encode = _avro_encoder(schema, head)
        if n == 1:
            writer.encode = _with_more(writer.encode)
        elif n == 2:
            names = {each["name"] for each in schema["fields"]}
            writer.gone = frozenset(set(kind.columns) - names)
        elif n == 3:
            writer.time = _to_millis
            writer.pools = {
                each["name"]: _promoted_pool(each["name"], place, each["type"], rng)
                for place, each in enumerate(kind.schema["fields"])
            }
        made.append(writer)
    return made


def _to_millis(micros: int) -> int:
    return micros // 1000


def _with_more(encode: Callable[[dict[str, Any]], bytes]) -> Callable[[dict[str, Any]], bytes]:
    return lambda values: encode({**values, "added_map": {"k": "v"}, "added_kind": "B", "added_list": [1, 2]})


_MIXTURES: dict[Hashable, tuple[list[Made], int, Any]] = {}
"""What `Maker.mixture` made last, by all that decides it; with the maker's state after it."""
_KEPT_MIXTURES = 16


class Maker:
    """Makes the records of one stream. `now` is where record timestamps end."""

    def __init__(self, kind: str, form: Form, seed: int, ids: Sequence[int] = ()) -> None:
        self.kind = KINDS[kind]
        self.form = form
        self.rng = random.Random(f"{kind} {form} {seed}")
        self._label = f"{kind[:4]}{form[-4:]}{seed}"
        self._origin = (kind, form, seed, tuple(ids))
        self._count = 0
        if form == "json":
            self.writers = [json_writer(self.kind, self.rng)]
        elif form == "avro":
            self.writers = [plain_writer(self.kind, self.rng)]
        else:
            self.writers = registry_writers(self.kind, self.rng, ids)
        self._columns = self.kind.columns

    def row(self, day: date, drops: tuple[str, ...] = (), *, delay_hours: float = 3, fat: int = 0) -> Made:
        """A row of that day; `drops` are filters that shall drop it, `fat` is the size of one of its texts."""
        return self._record(day, drops, self.rng.randrange(DAY_MICROS), delay_hours, fat)

    def mixed(self, day: date) -> Made:
        """Mostly a row of that day, else filtered, bad or a tombstone."""
        dice = self.rng.random()
        if dice < 0.02:
            return self.tombstone(day)
        if dice < 0.04:
            return self.bad(day)
        if dice < 0.20 and self.kind.drops:
            return self.row(day, tuple(self.rng.sample(self.kind.drops, self.rng.randint(1, len(self.kind.drops)))))
        return self.row(day)

    def mixture(self, days: Sequence[date], count: int) -> list[Made]:
        """So many mixed records, each of one of these days. Tests that begin alike share what was made once."""
        state = (*self._origin, tuple(days), count, self._count, self.rng.getstate())
        if state not in _MIXTURES:
            made = [self.mixed(self.rng.choice(days)) for _ in range(count)]
            _MIXTURES[state] = made, self._count, self.rng.getstate()
            if len(_MIXTURES) > _KEPT_MIXTURES:
                _MIXTURES.pop(next(iter(_MIXTURES)))
        made, self._count, after = _MIXTURES[state]
        self.rng.setstate(after)
        return made

    def tombstone(self, day: date) -> Made:
        """A record without a value."""
        stamp = _millis(day) + self.rng.randrange(86_400_000)
        return Made(b"gone", None, stamp, "tombstone", day)

    def bad(self, day: date) -> Made:
        """A record that cannot become a row."""
        good = self.row(day, delay_hours=0)
        value, reason = self.rng.choice(self._spoilt(good))
        when = datetime.fromtimestamp(good.timestamp / 1000, UTC).date()
        return Made(good.key, value, good.timestamp, "bad", when, reason=reason)

    def _spoilt(self, good: Made) -> list[tuple[bytes, str]]:
        assert good.value is not None
        when = datetime.fromtimestamp(good.timestamp / 1000, UTC).date()
        old = self._record(date(2001, 2, 3), (), 0, 0).value or b""
        early = self._record(when + timedelta(days=3), (), 0, 0).value or b""
        spoilt = [(b"", "empty_value"), (old, "day_out_of_range"), (early, "day_out_of_range")]
        if self.form == "json":
            timeless = dict.fromkeys(("a", "b"), 1)
            spoilt += [(good.value[:-1], "undecodable"), (b"[1]", "undecodable"), (_json_encoder(timeless), "no_time")]
        else:
            spoilt += [(good.value[:-1], "undecodable"), (good.value + b"\0", "undecodable")]
        if self.form == "avro-registry":
            spoilt += [(b"\1" + good.value[1:], "not_wire_format"), (b"\0\0\0", "not_wire_format")]
            spoilt.append((b"\0\x7e\0\0\1" + good.value[5:], "schema_unknown"))
        return spoilt

    def _record(self, day: date, drops: tuple[str, ...], moment: int, delay_hours: float, fat: int = 0) -> Made:
        writer = self.rng.choice(self.writers)
        if "historical" in drops and self.kind.name == "ua_events":
            day = LONG_AGO
        micros = _number(day) * DAY_MICROS + moment
        if writer.time is _to_millis:
            micros -= micros % 1000
        values, texts = self._filled(writer)
        self._set_time(writer, values, texts, day, micros)
        self._set_filters(writer, values, texts, micros, drops)
        uid = f"{self._label}-{self._count}"
        self._count += 1
        self._send(writer, values, texts, self.kind.id, uid, uid)
        if fat:
            self._send(writer, values, texts, self.kind.fat, "f" * fat, "f" * fat)
        line = cells.line([texts[name] for name in self._columns])
        for name in writer.gone:
            values.pop(name)
        dropped = tuple(reason for reason in self.kind.drops if reason in drops)
        stamp = micros // 1000 + int(self.rng.random() * delay_hours * 3_600_000)
        return Made(uid.encode(), writer.encode(values), stamp, "row", day, line, dropped)

    def _filled(self, writer: Writer) -> tuple[dict[str, Any], dict[str, str]]:
        bits = self.rng.getrandbits(_SLOT * len(self._columns))
        values, texts = {}, {}
        for name in self._columns:
            values[name], texts[name] = writer.pools[name][bits & (_POOL - 1)]
            bits >>= _SLOT
        for name in writer.gone:
            texts[name] = ""
        return values, texts

    def _set_time(self, writer: Writer, values: dict[str, Any], texts: dict[str, str], day: date, micros: int) -> None:
        name = self.kind.time
        if name == "date":
            sent = day.isoformat() if self.form == "json" else _number(day)
            self._put(values, texts, name, sent, day.isoformat())
        else:
            self._put(values, texts, name, writer.time(micros), cells.instant(micros))

    def _set_filters(
        self, writer: Writer, values: dict[str, Any], texts: dict[str, str], micros: int, drops: tuple[str, ...]
    ) -> None:
        pick = self.rng.choice
        if "event_type" in self.kind.drops:
            dropped = [("subscription_paused", "subscription_paused"), (" Subscription_PAUSED ", "subscription_paused")]
            kept = [
                ("subscription_renewed", "subscription_renewed"),
                ("Trial_Started", "trial_started"),
                ("new", "new"),
            ]
            self._send(writer, values, texts, "event_type", *pick(dropped if "event_type" in drops else kept))
        if "profile" in self.kind.drops:
            nobody: list[Pair] = [(None, ""), ("", '""'), ("00000000-0000-0000-0000-000000000000",) * 2]
            somebody = f"fe36c5e3-28bc-4105-b9a2-{self.rng.getrandbits(48):012x}"
            pair = pick(nobody) if "profile" in drops else (somebody, somebody)
            self._send(writer, values, texts, "profile_id", *pair)
        if "historical" in self.kind.drops and self.kind.name != "ua_events":
            self._set_install(writer, values, texts, micros, historical="historical" in drops)
        if "environment" in self.kind.drops:
            refused: list[Pair] = [("Sandbox", "Sandbox"), (None, ""), ("", '""')]
            kept = [("Production", "Production"), ("production", "production")]
            self._send(writer, values, texts, "environment", *pick(refused if "environment" in drops else kept))

    def _set_install(
        self, writer: Writer, values: dict[str, Any], texts: dict[str, str], micros: int, *, historical: bool
    ) -> None:
        away = 1_000_000 * self.rng.randrange(1, 10**6)
        when = micros + away if historical else micros - away
        if not historical and self.rng.random() < 0.1:
            self._put(values, texts, "install_date", None, "")
        else:
            self._put(values, texts, "install_date", writer.time(when), cells.instant(when))

    def _send(
        self, writer: Writer, values: dict[str, Any], texts: dict[str, str], name: str, value: Any, text: str
    ) -> None:
        """A text column by the type that this producer has for it."""
        self._put(values, texts, name, value, text)

    @staticmethod
    def _put(values: dict[str, Any], texts: dict[str, str], name: str, value: Any, text: str) -> None:
        values[name], texts[name] = value, text


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _millis(day: date) -> int:
    return _number(day) * 86_400_000
