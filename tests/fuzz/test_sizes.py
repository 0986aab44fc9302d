"""Hostile sizes: huge numbers, deep nesting, names without end, archives that burst: memory and time in proportion."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import zstandard

from consumer.decode.json_decoder import parse
from consumer.domain.errors import BadRecordError
from consumer.seal.objects import count_lines
from consumer.store.compression import BLOCK, plain_blocks
from consumer.streams.rules import RowRules
from consumer.verify import objects
from tests.builders.transforming import AvroText, both, judged, rules_of
from tests.fuzz.test_records import ANY_JSON, NESTED_RULES, ONE_OF_EACH, TREE

MEGA = 1_000_000
NAMES = [field["name"] for field in orjson.loads(ANY_JSON.schema)["fields"]]
SECONDS = 20
"""Processor time that a case may take on a slow machine; what was mended took minutes."""


@contextmanager
def soon() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


@contextmanager
def within(growth: int) -> Iterator[None]:
    """The process's memory, native code's too, stays within so many bytes above what it is now."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    yield
    assert resident("VmHWM") - before < growth


def resident(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def of_json(**fields: bytes) -> bytes:
    inner = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items())
    return b'{"at":1721001600000000,%s}' % inner


WHOLE = AvroText(NESTED_RULES.schema)
LONG = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
HEAD = WHOLE({**ONE_OF_EACH, "list": [], "map": {}, "none": [], "tree": None})[:-25]
CASES: dict[str, tuple[RowRules, Callable[[], list[bytes]]]] = {
    "digits in an integer": (ANY_JSON, lambda: [of_json(whole=b"9" * 1_000_010), of_json(whole=b"-1" + b"0" * MEGA)]),
    "digits in a double": (ANY_JSON, lambda: [of_json(real=b"9" * 1_000_010), of_json(small=b"0." + b"9" * MEGA)]),
    "digits in a date": (ANY_JSON, lambda: [of_json(on=b"9" * 1_000_010), of_json(on=b'"%s"' % (b"9" * MEGA))]),
    "digits in a list": (ANY_JSON, lambda: [of_json(list=b"[%s1]" % (b"1234567890123456789012," * 40_000))]),
    "exponents": (ANY_JSON, lambda: [of_json(real=b"1e-99999999999", whole=b"1e99999999999", text=b"-1e400")]),
    "brackets": (ANY_JSON, lambda: [b"[" * MEGA, b"[" * MEGA + b"]" * MEGA, b'{"a":' * 200_000, b'"' * MEGA]),
    "nested within bounds": (ANY_JSON, lambda: [of_json(list=b"[%s[]]" % ((b"[" * 190 + b"]" * 190 + b",") * 1_000))]),
    "many lists": (ANY_JSON, lambda: [of_json(list=b"[%s[]]" % (b"[]," * 100_000))]),
    "halves of pairs": (ANY_JSON, lambda: [of_json(text=b'"%s"' % (b"\\ud800" * 150_000))]),
    "not UTF-8": (ANY_JSON, lambda: [of_json(text=b'"%s"' % (b"\xff" * MEGA))]),
    "varints": (rules_of("events"), lambda: [LONG * n for n in (1, 2, 40)] + [b"\x02" * MEGA, b"\x00" * MEGA]),
    "counts": (NESTED_RULES, lambda: [HEAD + LONG, HEAD + b"\x00\x00" + LONG + b"\x00", HEAD + b"\x02" * MEGA]),
    "items": (NESTED_RULES, lambda: [WHOLE({**ONE_OF_EACH, "list": [None] * 400_000, "none": [None] * 400_000})]),
    "decimals": (NESTED_RULES, lambda: [WHOLE({**ONE_OF_EACH, "size": b"\x7f" * MEGA}), WHOLE(ONE_OF_EACH)]),
    "recursion": (NESTED_RULES, lambda: [WHOLE({**ONE_OF_EACH, "tree": grown(n)}) for n in (60, 300)]),
}


def grown(levels: int) -> object:
    tree: object = TREE
    for _ in range(levels):
        tree = {"left": tree, "right": None}
    return tree


@pytest.mark.parametrize("name", CASES)
def test_a_record(name: str) -> None:
    rules, make = CASES[name]
    hostile = make()
    with soon(), within(40 * sum(map(len, hostile)) + 64 * MEGA):
        found = both(rules, hostile)
    assert found.counts.kept + found.counts.quarantined == len(hostile)


def test_an_integer_of_a_million_digits_is_written_as_it_came() -> None:
    digits = b"9" * 1_000_010
    found = both(ANY_JSON, [of_json(whole=digits)])
    cells = found.days[0].body.decode().rstrip("\n").split(",")  # Python's csv takes no cell as large
    assert dict(zip(NAMES, cells, strict=True))["whole"] == digits.decode()
    assert found.oddities == {"misfit": 1}


def test_names_without_end_cost_what_they_weigh() -> None:
    values = [of_json(**{f"u{n}_{i}": b"1" for i in range(20_000)}) for n in range(10)]
    with soon():
        found = both(ANY_JSON, [of_json(text=b'"t"')] * 400 + values)
    assert found.counts.kept == 400 + len(values)
    assert len(found.unknown_fields) == 100 * len(values), "a record's first hundred names are counted"


def test_the_objects_of_one_record_at_a_time_are_in_memory() -> None:
    """Objects take up to 25 times the room of their text: not all of a batch at once."""
    values = [of_json(list=b"[%s[]]" % (b"[]," * 40_000)) for _ in range(60)]
    with soon(), within(100 * MEGA):
        judged(ANY_JSON, values, wanted=lambda *_: False)


@pytest.mark.parametrize("deep", [b"[" * 201 + b"]" * 201, b'{"a":' * 201 + b"1" + b"}" * 201, b"[{" * 500_000])
def test_too_deep_is_said_at_once(deep: bytes) -> None:
    with soon(), pytest.raises(BadRecordError, match="nested too deep"):
        parse(deep)


def test_brackets_in_text_are_no_levels() -> None:
    assert parse(b'["' + b"[" * 300 + b'\\"]"]')[0] == ["[" * 300 + '"]']
    assert parse(b"[" * 200 + b"]" * 200)[1] == 0
    assert parse(b"[" + b"[[]]," * 300 + b"1]")[1] == 0


BURST = 100 * MEGA


@pytest.mark.parametrize(
    ("key", "pack"),
    [("a.csv.gz", lambda data: gzip.compress(data, 9)), ("a.csv.zst", lambda data: zstandard.compress(data, 19))],
)
def test_an_archive_that_bursts_is_read_in_small_pieces(key: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(bytes(BURST))
    with within(40 * MEGA):
        sizes = [len(block) for block in plain_blocks(key, io.BytesIO(packed))]
    assert sum(sizes) == BURST
    assert max(sizes) <= BLOCK
    assert count_lines(key, io.BytesIO(pack(b"id\n1\n2\n"))) == 2


def test_a_zstd_frame_that_asks_for_much_memory_is_damaged() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=27)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = packed.compress(bytes(MEGA)) + packed.flush()
    with pytest.raises(ValueError, match="damaged zstd"):
        list(plain_blocks("a.csv.zst", io.BytesIO(data)))


def test_a_line_without_end_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LONGEST_LINE", 10)
    assert list(objects._split([b"ab", b"c\nd", b"\n", b"e\nf\n"])) == [b"abc", b"d", b"e", b"f"]
    with pytest.raises(ValueError, match="is incomplete"):
        list(objects._split([b"a\n", b"bc"]))

    def endless() -> Iterable[bytes]:
        yield b"a\n"
        while True:
            yield b"abc"

    with pytest.raises(ValueError, match="more than 10 bytes"):
        list(objects._split(endless()))
