"""What anybody may write to a topic, and what becomes of it: the same by both engines, alone and among others."""

from __future__ import annotations

import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.streams.rules import Format
from tests.builders.transforming import both, custom, quarantined, record_schema, wire

NOON = "2024-07-15T12:00:00Z"
AT = {"name": "at", "type": "string"}
JSON = custom(
    [
        AT,
        {"name": "t", "type": ["null", "string"]},
        {"name": "i", "type": ["null", "long"]},
        {"name": "d", "type": ["null", "double"]},
        {"name": "m", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 6}]},
        {"name": "j", "type": ["null", "string"], "adapty.type": "json"},
    ],
    "at",
)
UNDECODABLE, NO_TIME, OUT = "undecodable", "no_time", "day_out_of_range"


def row(rest: bytes) -> bytes:
    """A record with a time and these members."""
    return b'{"at":"%s",%s}' % (NOON.encode(), rest)


ROWS: dict[bytes, str] = {
    b'"i":1,"i":2,"t":"a","t":null': ",2,,,",
    b'"t":"a","\\u0074":"b"': "b,,,,",
    b'"d":NaN,"j":[Infinity,-Infinity]': ',,,,"[null,null]"',
    b'"t":"\\ud800x","j":{"\\udfff":"\\udc00"}': '\ufffdx,,,,"{""\ufffd"":""\ufffd""}"',
    b'"t":"\xff\xc0\xaf"': "\ufffd\ufffd\ufffd,,,,",
    b'"t\\u0000":1,"t":"a\\u0000b","j":"\\u0000"': 'ab,,,,""',
    b'"":1,"j":{"":{"":[]}}': ',,,,"{"""":{"""":[]}}"',
    b'"i":9223372036854775808,"t":9223372036854775808': "9223372036854775808,9223372036854775808,,,",
    b'"i":-9223372036854775808,"d":9007199254740993': ",-9223372036854775808,9007199254740992.0,,",
    b'"i":1e0,"t":1e0,"j":1E+0': "1.0,1,,,1E+0",
    b'"i":0e999999999,"m":1e-999999999,"t":-0e9': "0.0,0e999999999,,1e-999999999,",
    b'"d":1e999999999,"m":1e999999999': ",,,1e999999999,",
    b'"i":"-00","d":"1_0","m":"--1"': ",0,1_0,--1,",
    '"i":"١٢","d":"\uff11\uff12"'.encode(): ",١٢,\uff11\uff12,,",
    b'"i":true,"d":false,"t":[1.50]': "[1.50],true,false,,",
    b'"t":"=1+1","j":"@SUM(1)"': "=1+1,,,,@SUM(1)",
    b'"t":"a\\r\\nb,\\"q\\""': '"a\r\nb,""q""",,,,',
    '"t":"\ufeffa\u2028b"'.encode(): "\ufeffa\u2028b,,,,",
    b'"t":"../../x\\u001b]0;y\\u0007"': "../../x\x1b]0;y\x07,,,,",
    b'"i":' + b"9" * 5_000: f",{'9' * 5_000},,,",
    b'"j":' + b"[" * 199 + b"]" * 199: f",,,,{'[' * 199}{']' * 199}",
    b'"t":"' + b"[" * 5_000 + b'"': f"{'[' * 5_000},,,,",
}
REFUSED: dict[bytes, str] = {
    row(b'"j":' + b"[" * 200 + b"]" * 200): UNDECODABLE,
    row(b'"x":' + b"[" * 100_000): UNDECODABLE,
    b"\xef\xbb\xbf\xef\xbb\xbf" + row(b'"i":1'): UNDECODABLE,
    row(b'"i":1').decode().encode("utf-16"): UNDECODABLE,
    row(b'"i":1') + b"\0": UNDECODABLE,
    row(b'"i":1') + b"{}": UNDECODABLE,
    row(b'"i":01'): UNDECODABLE,
    row(b'"i":+1'): UNDECODABLE,
    row(b'"i":1,'): UNDECODABLE,
    row(b'"t":"a\x01b"'): UNDECODABLE,
    b"\xc2\xa0" + row(b'"i":1'): UNDECODABLE,
    b"[]": UNDECODABLE,
    b"null": UNDECODABLE,
    b"{}": NO_TIME,
    b'{"at":["%s"]}' % NOON.encode(): NO_TIME,
    b'{"at":true}': NO_TIME,
    b'{"at":"0000-01-01T00:00:00Z"}': NO_TIME,
    b'{"at":"10000-01-01T00:00:00Z"}': NO_TIME,
    b'{"at":"2024-07-15T12:00:00+99:99"}': NO_TIME,
    '{"at":"٢٠٢٤-07-15T12:00:00Z"}'.encode(): NO_TIME,
    b'{"at":"0001-01-01T00:00:00Z"}': OUT,
    b'{"at":"9999-12-31T23:59:60Z"}': OUT,
    b'{"at":99999999999999999999}': OUT,
    b"": "empty_value",
}


def test_rows_that_nobody_would_write() -> None:
    found = both(JSON, [row(rest) for rest in ROWS])
    lines = [f"{NOON},{cells}\n" for cells in ROWS.values()]
    assert b"".join(day.body for day in found.days).decode() == "".join(lines)


def test_records_that_are_none() -> None:
    found = both(JSON, [*REFUSED, None])
    assert [line["reason"] for line in quarantined(found)] == list(REFUSED.values())


@pytest.mark.parametrize("schema_id", [0, 1, (1 << 31) - 1, (1 << 32) - 1])
def test_any_four_bytes_are_a_schema_id(schema_id: int) -> None:
    """Json-registry looks none up."""
    rules = custom([AT, {"name": "t", "type": "string"}], "at", Format.JSON_REGISTRY)
    found = both(rules, [wire(schema_id, row(b'"t":"x"')), wire(schema_id, wire(1, row(b'"t":"x"')))])
    assert [day.body for day in found.days if not day.quarantine] == [f"{NOON},x\n".encode()]
    assert [line["reason"] for line in quarantined(found)] == ["schema_id_before_json"]


SCHEMAS: dict[str, bool] = {
    record_schema([AT]): True,
    '{"type":"record","name":"R","type":"record","fields":[{"name":"at","type":"string"}]}': True,
    '{"type":"record","name":"R","fields":[{"name":"at","type":"string"},{"name":"at","type":"string"}]}': False,
    '{"type":"error","name":"R","fields":[{"name":"at","type":"string"}]}': False,
    '"string"': False,
    "[]": False,
    '["null"]': False,
    "": False,
    "[" * 5_000: False,
    "\ufeff" + record_schema([AT]): False,
}


def test_schemas_that_a_registry_may_hold() -> None:
    body = bytes([2 * len(NOON)]) + NOON.encode()
    registry = MemoryRegistry(dict(enumerate(SCHEMAS)))
    rules = custom([AT], "at", Format.AVRO_REGISTRY)
    found = both(rules, [wire(number, body) for number in range(len(SCHEMAS))], registry=registry)
    assert found.counts.kept == sum(SCHEMAS.values())
    assert {line["reason"] for line in quarantined(found)} == {"schema_unusable"}
