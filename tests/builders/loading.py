"""Two published days with nasty cells, and what every engine must make of each of them."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from consumer.domain.batches import RawBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.folder_columns import claim_columns
from consumer.seal.keys import manifest_key
from consumer.shape.transform import make_transformer
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody
from consumer.streams.columns import columns_of
from consumer.streams.rules import Format, RowRules

DAY, NEXT = date(2026, 11, 21), date(2026, 11, 22)
INSTANT = {"type": "long", "logicalType": "timestamp-micros"}
FIELDS = [
    ("at", INSTANT),
    ("id", ["null", "string"]),
    ("units", ["null", "long"]),
    ("price", ["null", "double"]),
    ("paid", ["null", "boolean"]),
    ("installed", ["null", {"type": "int", "logicalType": "date"}]),
    ("seen", ["null", INSTANT]),
]
LATER = [*FIELDS, ("note", ["null", "string"])]
NAMES = tuple(name for name, _ in LATER)
_CASES: list[tuple[Any, ...]] = [
    ("plain", 7, 9.99, True, "2024-02-29", "2024-02-29T23:59:59.999999Z"),
    (None, None, None, None, None, None),
    ("", "rev-A", "9,99", "maybe", "2024-02-30", "2024-02-30T00:00:00Z"),
    ("\\N", 9007199254740993, 0.1, False, "1999-12-31", "tomorrow"),
    ('back\\slash \\" and "quotes"', -1, 1e300, "yes", "20240229", "infinity"),
    ("a line\nbreak, and\r\nanother", "1e5", "NaN?", "1", "tomorrow", "2024-13-01T00:00:00Z"),
    ("  blanks  ", 2**63 - 1, -0.0, "TRUE", "today", "epoch"),
    ("NULL", -(2**63), 5e-324, "t", "2024-13-01", "now"),
    ("ünïcode 🚀 '; DROP TABLE clicks; --", "9223372036854775808", 1.7976931348623157e308, None, "1969-12-31", ""),
    ("1234e567", 3.7, "NaN", None, "2026-11-21", "1969-12-31T23:59:59.000001Z"),
    ("ends with a backslash\\", "0x1F", "Infinity", None, "2024-2-9", "2024-07-15 13:45:18"),
    ('"', "1_000", "1d", None, "-2024-01-01", "12"),
    (",", "", 0.1 + 0.2, None, "", "2024-07-15T24:00:00Z"),
    ("\t", " 5 ", 15008753.000000002, None, None, "2024-07-15T13:45:61Z"),
]
NASTY = [dict(zip(NAMES[1:7], case, strict=True)) for case in _CASES]


def schema_of(fields: list[tuple[str, Any]]) -> str:
    """Their Avro schema."""
    fields_of = [{"name": name, "type": kind} for name, kind in fields]
    return orjson.dumps({"type": "record", "name": "Click", "fields": fields_of}).decode()


def _rules(fields: list[tuple[str, Any]]) -> RowRules:
    return RowRules("clicks", "custom", "t", Format.JSON, schema_of(fields), "at")


def _csv(rules: RowRules, day: date, rows: list[dict[str, Any]]) -> bytes:
    """An object as the worker makes it of these records."""
    transformer = make_transformer(rules)
    at = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1_000_000)
    values = [orjson.dumps({"at": at + n, **row}) for n, row in enumerate(rows)]
    count = len(values)
    batch = RawBatch(TopicPartition("t", 0), Span(0, count), range(count), [at // 1000] * count, values, [None] * count)
    (made,) = transformer.transform(batch, TransformOptions(transformer.columns)).days
    return ",".join(transformer.columns).encode() + b"\n" + made.body


class Folder:
    """The days before and after the folder got a column: one of two plain objects, one of a packed one.

    A blank in the folder's name, which its URL writes as %20.
    """

    def __init__(self, home: Path) -> None:
        self.home = home / "our days"
        self.store = FolderStore(self.home)
        self.bodies: list[tuple[date, bytes]] = []
        claim_columns(self.store, "clicks", [name for name, _ in FIELDS], DAY, DAY)
        claim_columns(self.store, "clicks", NAMES, NEXT, NEXT)
        self._publish(DAY, FIELDS, [NASTY[:5], NASTY[5:]], ".csv")
        self._publish(NEXT, LATER, [[{**row, "note": f"note {n}"} for n, row in enumerate(NASTY)]], ".csv.gz")

    def _publish(self, day: date, fields: list[tuple[str, Any]], parts: list[list[dict[str, Any]]], end: str) -> None:
        rules, objects = _rules(fields), []
        for partition, rows in enumerate(parts):
            text = _csv(rules, day, rows)
            self.bodies.append((day, text))
            body = BytesBody(gzip.compress(text) if end == ".csv.gz" else text)
            key = f"clicks/dt={day}/t-{partition}-{len(rows):020d}{end}"
            self.store.put(key, body, condition=Absent())
            item = {"key": key, "partition": partition, "rows": len(rows), "bytes": body.size, "sha256": body.sha256}
            objects.append(item | {"first_offset": 0, "last_offset": len(rows) - 1, "seal": 0})
        manifest = {"version": 1, "stream": "clicks", "day": str(day), "revision": 1, "complete": True, "why": []}
        manifest |= {"columns": [column.name for column in columns_of(rules)], "objects": objects, "seals": {"0": 0}}
        manifest |= {"rows": sum(map(len, parts)), "bytes": sum(int(str(item["bytes"])) for item in objects)}
        self.store.put(manifest_key("clicks", day), BytesBody(orjson.dumps(manifest)), condition=Absent())

    def settings(self, fields: list[tuple[str, Any]] = LATER) -> Path:
        """A settings file of the stream with these fields."""
        beside = self.home.parent
        (beside / "clicks.avsc").write_text(schema_of(fields))
        path = beside / "sink.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = "localhost:1"\n[destination]\nurl = "{self.home.as_uri()}"\n'
            f'[spool]\ndirectory = "{beside / "spool"}"\n[streams.clicks]\ntopic = "t"\nformat = "json"\n'
            'schema = "clicks.avsc"\ntime_field = "at"\n'
        )
        return path

    def expected(self) -> list[tuple[str | None, ...]]:
        """Every cell as text, and the day, sorted. A column that a day has not is null."""
        return ordered((*(row.get(name) for name in NAMES), str(day)) for day, row in self._rows())

    def typed(self, *, years: tuple[int, int] = (1, 9999), largest: float = float("inf")) -> list[tuple[Any, ...]]:
        """Every cell of the view, sorted: instants in microseconds, dates as text; null where a cell does not fit.

        `years` are those that the engine has, `largest` the double that it takes.
        """
        return ordered(_typed(row, years, largest) for _, row in self._rows())

    def _rows(self) -> list[tuple[date, dict[str, str | None]]]:
        return [(day, row) for day, body in self.bodies for row in parsed(body)]


def ordered(rows: Any) -> list[tuple[Any, ...]]:
    """In an order that nulls do not disturb."""
    return sorted((tuple(row) for row in rows), key=repr)


def _typed(row: dict[str, str | None], years: tuple[int, int], largest: float) -> tuple[Any, ...]:
    integer, real, truth = row["units"], row["price"], row["paid"]
    units = int(integer) if integer and re.fullmatch(r"-?\d+", integer) else None
    price = float(real) if real and re.fullmatch(r"-?\d+(\.\d+)?", real) else None
    return (
        _micros(row["at"], years),
        row["id"],
        units if units is not None and -(2**63) <= units < 2**63 else None,
        price if price is not None and abs(price) <= largest else None,
        {"true": True, "false": False}.get(truth or ""),
        _date(row["installed"], years),
        _micros(row["seen"], years),
        row.get("note"),
    )


def _date(text: str | None, years: tuple[int, int]) -> str | None:
    try:
        day = date.fromisoformat(text or "") if re.fullmatch(r"\d{4}-\d\d-\d\d", text or "") else None
    except ValueError:
        return None
    return str(day) if day is not None and years[0] <= day.year <= years[1] else None


def _micros(text: str | None, years: tuple[int, int]) -> int | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", text or ""):
        return None
    assert text is not None
    at = datetime.fromisoformat(text)
    return (
        (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        if years[0] <= at.year <= years[1]
        else None
    )


def parsed(body: bytes) -> list[dict[str, str | None]]:
    """RFC 4180, with null apart from the empty text."""
    text, rows, row = body.decode(), [], []
    at = 0
    while at < len(text):
        cell, at = _cell(text, at)
        row.append(cell)
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    head = [name or "" for name in rows[0]]
    return [dict(zip(head, cells, strict=True)) for cells in rows[1:]]


def _cell(text: str, at: int) -> tuple[str | None, int]:
    if text[at] != '"':
        end = min(place for place in (text.find(",", at), text.find("\n", at)) if place >= 0)
        return text[at:end] or None, end
    end = at + 1
    while text[end : end + 2] == '""' or text[end] != '"':
        end += 2 if text[end] == '"' else 1
    return text[at + 1 : end].replace('""', '"'), end + 1
