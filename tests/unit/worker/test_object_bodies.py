"""Spool files as bodies of objects: the header, the rows that count, and nothing that was not written so."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import orjson
import pytest
import zstandard

from consumer.domain.compression import Compression
from consumer.domain.errors import TransientError
from consumer.seal.objects import count_rows, size_and_digest
from consumer.shape.quarantine import without_value
from consumer.spool.checkpoint import SpoolFile
from consumer.spool.files import Running, SpoolDamagedError
from consumer.store import compression as packing
from consumer.store.body import ChangedError, FileBody, blocks
from consumer.store.port import Absent
from consumer.worker.object_bodies import ObjectBodies, header
from tests.builders.chains import bad, data, day, put
from tests.builders.rough import RoughStore
from tests.fakes.disk import MemoryDisk

ROWS = b'1,a\n2,"b\nc"\n'
FILE = SpoolFile("t-0/x.csv", day(0), False, 2, 10, 11, len(ROWS), zlib.crc32(ROWS))
COLUMNS = ("id", "at")


@pytest.fixture
def disk() -> MemoryDisk:
    made = MemoryDisk()
    made.append(FILE.name, ROWS)
    return made


@pytest.fixture
def bodies(disk: MemoryDisk, tmp_path: Path) -> ObjectBodies:
    return ObjectBodies(disk, tmp_path)


def read(body: FileBody) -> bytes:
    with body, body.open() as reader:
        return reader.read()


def test_the_header_is_one_line() -> None:
    assert header(COLUMNS) == b"id,at\n"
    assert header(("price, usd", 'a"b', "x\ny")) == b'"price, usd","a""b","x\ny"\n'


def test_a_body_is_the_header_and_the_rows(bodies: ObjectBodies) -> None:
    body = bodies.freeze(FILE, COLUMNS, "none")
    assert body.size == len(b"id,at\n" + ROWS)
    assert read(body) == b"id,at\n" + ROWS


def test_readers_of_the_spool_are_closed(
    bodies: ObjectBodies, disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[BinaryIO] = []
    plain = disk.read

    def watched(name: str) -> BinaryIO:
        opened.append(plain(name))
        return opened[-1]

    monkeypatch.setattr(disk, "read", watched)
    assert read(bodies.freeze(FILE, COLUMNS, "none")) == b"id,at\n" + ROWS
    bodies.freeze(FILE, COLUMNS, "gzip").close()
    assert len(opened) == 3
    assert all(reader.closed for reader in opened)


def test_a_body_can_be_read_again(bodies: ObjectBodies) -> None:
    body = bodies.freeze(FILE, COLUMNS, "none")
    assert read(body) == read(body)


def test_only_the_bytes_that_count_go_up(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    """Reading goes on: other rows of the day may have been appended, or were cut off half-way."""
    disk.append(FILE.name, b"3,half a r")
    assert read(bodies.freeze(FILE, COLUMNS, "none")) == b"id,at\n" + ROWS


def test_quarantine_has_no_header_and_is_never_packed(bodies: ObjectBodies) -> None:
    body = bodies.freeze(replace(FILE, quarantine=True), COLUMNS, "gzip")
    assert read(body) == ROWS


def test_an_object_without_rows_keeps_its_header(bodies: ObjectBodies) -> None:
    assert read(bodies.freeze(None, COLUMNS, "none")) == b"id,at\n"
    assert gzip.decompress(read(bodies.freeze(None, COLUMNS, "gzip"))) == b"id,at\n"
    assert read(bodies.freeze(None, COLUMNS, "gzip", quarantine=True)) == b""


def test_an_empty_file_is_an_object_without_rows(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    disk.append("t-0/empty.csv", b"")
    empty = SpoolFile("t-0/empty.csv", day(0), False, 0, 10, 10, 0, 0)
    assert read(bodies.freeze(empty, COLUMNS, "none")) == b"id,at\n"


def test_packed_bodies_hold_the_same_and_leave_nothing_behind(bodies: ObjectBodies, tmp_path: Path) -> None:
    assert gzip.decompress(read(bodies.freeze(FILE, COLUMNS, "gzip"))) == b"id,at\n" + ROWS
    packed = read(bodies.freeze(FILE, COLUMNS, "zstd"))
    assert zstandard.ZstdDecompressor().stream_reader(packed).read() == b"id,at\n" + ROWS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_flipped_bit_is_found(bodies: ObjectBodies, disk: MemoryDisk, compression: Compression) -> None:
    disk.files[FILE.name][3] ^= 1
    with pytest.raises(SpoolDamagedError, match=r"t-0/x\.csv was changed after it was written"):
        bodies.freeze(FILE, COLUMNS, compression)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("length", [0, 1, len(ROWS) - 1])
def test_a_short_file_is_found(bodies: ObjectBodies, disk: MemoryDisk, compression: Compression, length: int) -> None:
    disk.truncate(FILE.name, length)
    with pytest.raises(SpoolDamagedError, match=f"ends {len(ROWS) - length} bytes early"):
        bodies.freeze(FILE, COLUMNS, compression)


def test_a_missing_file_is_found(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    disk.remove([FILE.name])
    with pytest.raises(SpoolDamagedError, match=r"t-0/x\.csv is gone"):
        bodies.freeze(FILE, COLUMNS, "none")


def test_what_rots_between_freezing_and_upload_is_found(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    body = bodies.freeze(FILE, COLUMNS, "none")
    disk.files[FILE.name][3] ^= 1
    with pytest.raises(SpoolDamagedError):
        list(blocks(body, 5))


def test_a_name_that_came_to_mean_another_file_is_found(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    """An upload under a void lease goes on while the next life clears the spool."""
    body = bodies.freeze(FILE, COLUMNS, "none")
    disk.remove([FILE.name])
    disk.append(FILE.name, b"X" * len(ROWS))
    with pytest.raises(SpoolDamagedError):
        list(blocks(body, 5))


# With a digest that is known, nothing is read to find it


def known(rows: bytes = ROWS, top: bytes = b"id,at\n") -> Running:
    digest = Running(top)
    digest.add(rows)
    return digest


def test_a_known_digest_saves_reading(bodies: ObjectBodies, disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, "read", lambda name: pytest.fail("read to find what is known"))
        body = bodies.freeze(FILE, COLUMNS, "none", known())
    plain = bodies.freeze(FILE, COLUMNS, "none")
    assert (body.size, body.sha256) == (plain.size, plain.sha256)
    assert b"".join(blocks(body, 4)) == b"id,at\n" + ROWS


def test_rows_appended_since_do_not_go_up_with_a_known_digest(bodies: ObjectBodies, disk: MemoryDisk) -> None:
    disk.append(FILE.name, b"3,half a r")
    assert read(bodies.freeze(FILE, COLUMNS, "none", known())) == b"id,at\n" + ROWS


@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_damage_behind_a_known_digest_is_found_before_anything_is_published(
    bodies: ObjectBodies, disk: MemoryDisk, harm: str
) -> None:
    body = bodies.freeze(FILE, COLUMNS, "none", known())
    if harm == "flip":
        disk.files[FILE.name][3] ^= 1
    elif harm == "cut":
        disk.truncate(FILE.name, 3)
    else:
        disk.remove([FILE.name])
    store = RoughStore()
    with pytest.raises((SpoolDamagedError, ChangedError)):
        store.put("x", body, condition=Absent())
    assert store.names() == []


def test_a_digest_over_another_header_is_not_used(bodies: ObjectBodies) -> None:
    """A pending seal has the columns of the record that decided it."""
    body = bodies.freeze(FILE, ("id", "at", "kind"), "none", known())
    assert read(body) == b"id,at,kind\n" + ROWS
    assert body.sha256 == bodies.freeze(FILE, ("id", "at", "kind"), "none").sha256


def test_packed_bodies_have_no_use_for_it(bodies: ObjectBodies) -> None:
    assert gzip.decompress(read(bodies.freeze(FILE, COLUMNS, "gzip", known()))) == b"id,at\n" + ROWS


def test_quarantine_has_a_digest_of_its_own(bodies: ObjectBodies) -> None:
    body = bodies.freeze(replace(FILE, quarantine=True), COLUMNS, "none", known(top=b""))
    assert body.size == len(ROWS)
    assert read(body) == ROWS


def test_a_disk_that_fails_is_an_outage(
    bodies: ObjectBodies, disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(disk, "read", broken)
    with pytest.raises(TransientError, match="Permission denied"):
        bodies.freeze(FILE, COLUMNS, "none")


def test_no_room_for_packing_is_an_outage(disk: MemoryDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "IN_MEMORY", 0)
    with pytest.raises(TransientError):
        ObjectBodies(disk, tmp_path / "not there").freeze(FILE, COLUMNS, "gzip")


def test_large_files_are_read_in_pieces(disk: MemoryDisk, bodies: ObjectBodies) -> None:
    content = b"0123456789abcde\n" * 200_000
    disk.append("t-0/big.csv", content)
    file = SpoolFile("t-0/big.csv", day(0), False, 200_000, 0, 1, len(content), zlib.crc32(content))
    assert read(bodies.freeze(file, COLUMNS, "none")) == b"id,at\n" + content


# What stands in the bucket


def test_rows_of_a_stored_object_are_counted() -> None:
    store, entry = RoughStore(), data(0, 100)
    assert count_rows(store, entry) == -1
    put(store, entry.key, b"id,at\n" + ROWS)
    assert count_rows(store, entry) == 2
    put(store, bad(0, 100).key, b"{}\n{}\n{}\n")
    assert count_rows(store, bad(0, 100)) == 3
    packed = replace(entry, key=entry.key + ".gz")
    put(store, packed.key, gzip.compress(b"id,at\n" + ROWS))
    assert count_rows(store, packed) == 2
    damaged = replace(entry, key="other.csv.gz")
    put(store, damaged.key, b"no gzip at all")
    assert count_rows(store, damaged) == -1


def test_size_and_digest_of_a_stored_object() -> None:
    store = RoughStore()
    put(store, "x", b"abc")
    assert size_and_digest(store, "x") == (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    with pytest.raises(TransientError, match="memory:///y is gone"):
        size_and_digest(store, "y")


def test_quarantine_lines_lose_key_and_value_where_that_is_wanted(disk: MemoryDisk, tmp_path: Path) -> None:
    line = b'{"reason":"undecodable","offset":%d,"key":"aw==","value":%s}\n'
    lines = line % (1, b'"ew=="') + line % (2, b"null") + line % (3, b'"%s"' % (b"QUJD" * 700_000))
    file = SpoolFile("q.jsonl", day(0), True, 3, 1, 3, len(lines), zlib.crc32(lines))
    disk.append(file.name, lines)
    made = ObjectBodies(disk, tmp_path, omit_values=True)
    digest = Running(b"")
    digest.add(lines)
    body = made.freeze(file, (), "none", digest)
    omitted = read(body)
    assert body.size == len(omitted)
    found = [orjson.loads(one) for one in omitted.splitlines()]
    assert [(one["offset"], one["key"], one["value"]) for one in found] == [(n, None, None) for n in (1, 2, 3)]
    assert found[0]["sha256"] == hashlib.sha256(b"{").hexdigest()
    assert "sha256" not in found[1]
    assert found[2]["sha256"] == hashlib.sha256(b"ABC" * 700_000).hexdigest()
    assert b"".join(map(without_value, omitted.splitlines(keepends=True))) == omitted
    assert read(ObjectBodies(disk, tmp_path).freeze(file, (), "none")) == lines
    with pytest.raises(SpoolDamagedError):
        made.freeze(replace(file, crc=file.crc ^ 1), (), "none")


def test_rows_are_no_quarantine_lines(disk: MemoryDisk, tmp_path: Path) -> None:
    made = ObjectBodies(disk, tmp_path, omit_values=True)
    assert read(made.freeze(FILE, COLUMNS, "none")) == b"id,at\n" + ROWS
