"""The spool of one partition: all or nothing on a full disk, and just what the checkpoint says after a crash."""

from __future__ import annotations

import errno
import hashlib
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.batches import Counts, DayRows
from consumer.spool.checkpoint import ReadProgress, SpoolBasis, SpoolFile, opened_text, sealed_text
from consumer.spool.departure import SWEPT
from consumer.spool.files import LOOKED_AT, PartitionSpool, SpoolDamagedError, SpoolFullError
from tests.builders.chains import ONE, TWO, day, day_rows, restored
from tests.builders.rough import RoughDisk, fails
from tests.fakes.disk import MemoryDisk

BASIS = SpoolBasis("id-1", "digest", "chain", 4, 100)
FOLDER = "t-0"


class Crashed(BaseException):
    """Power off."""


def begun(disk: MemoryDisk, position: int = 100) -> PartitionSpool:
    spool = PartitionSpool(disk, ONE)
    spool.begin(BASIS, position)
    return spool


def bodies(spool: PartitionSpool, disk: MemoryDisk) -> dict[tuple[date, bool], bytes]:
    """What counts of each file, having checked that it is what the spool says of it."""
    found = {}
    for file in spool.files:
        content = bytes(disk.files[file.name][: file.length])
        assert zlib.crc32(content) == file.crc
        assert content.count(b"\n") == file.rows
        found[(file.day, file.quarantine)] = content
    return found


def again(disk: MemoryDisk) -> PartitionSpool:
    """The spool of a new process, restored."""
    spool = PartitionSpool(disk, ONE)
    assert restored(spool)
    return spool


# Taking


def test_rows_stand_by_day_and_quarantine_apart() -> None:
    disk = MemoryDisk()
    spool = begun(disk)
    spool.take(
        [day_rows(0, b"a\nb\n", 100), day_rows(0, b"{}\n", 102, quarantine=True), day_rows(1, b"c\n", 103)],
        ReadProgress(104, Counts(4, 3, 0, 1)),
    )
    spool.take([day_rows(0, b"d\n", 104)], ReadProgress(105))
    assert bodies(spool, disk) == {
        (day(0), False): b"a\nb\nd\n",
        (day(0), True): b"{}\n",
        (day(1), False): b"c\n",
    }
    first, quarantine, second = spool.files
    assert (first.rows, first.first_offset, first.last_offset, first.length) == (3, 100, 104, 6)
    assert (quarantine.rows, quarantine.first_offset, quarantine.last_offset) == (1, 102, 102)
    assert (second.first_offset, second.last_offset) == (103, 103)
    assert [file.name.rsplit(".", 1)[1] for file in spool.files] == ["csv", "jsonl", "csv"]
    assert spool.size == 6 + 3 + 2
    assert spool.progress == ReadProgress(105)


def test_partitions_do_not_share_files() -> None:
    disk = MemoryDisk()
    one, two = begun(disk), PartitionSpool(disk, TWO)
    two.begin(BASIS, 0)
    one.take([day_rows(0, b"one\n", 0)], ReadProgress(1))
    two.take([day_rows(0, b"two\n", 0)], ReadProgress(1))
    one.checkpoint()
    two.checkpoint()
    one.clear()
    assert not disk.names("t-0")
    assert bodies(two, disk) == {(day(0), False): b"two\n"}
    assert restored(PartitionSpool(disk, TWO))


SLICES = [day_rows(0, b"aaaa\n", 200), day_rows(1, b"bbbb\n", 201), day_rows(0, b"cccc\n", 202)]


def spool_with_rows(disk: MemoryDisk) -> PartitionSpool:
    """Day 0 has rows already, day 1 has none; what it holds is durable."""
    spool = begun(disk)
    spool.take([day_rows(0, b"old\n", 100)], ReadProgress(101))
    spool.checkpoint()
    return spool


@pytest.mark.parametrize("room", range(len(b"aaaa\nbbbb\ncccc\n")))
def test_a_full_disk_takes_all_or_nothing(room: int) -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    disk.capacity = len(b"old\n") + room
    files, progress = spool.files, spool.progress
    with pytest.raises(SpoolFullError, match="written to the spool: No space left on device"):
        spool.take(SLICES, ReadProgress(203))
    assert (spool.files, spool.progress) == (files, progress)
    assert {name: bytes(content) for name, content in disk.files.items()} == {files[0].name: b"old\n"}
    disk.capacity = 1 << 20
    spool.take(SLICES, ReadProgress(203))
    assert bodies(spool, disk) == {(day(0), False): b"old\naaaa\ncccc\n", (day(1), False): b"bbbb\n"}
    spool.checkpoint()
    assert bodies(again(disk), disk) == bodies(spool, disk)


def test_a_disk_with_just_enough_room_takes_all() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    disk.capacity = len(b"old\naaaa\nbbbb\ncccc\n")
    spool.take(SLICES, ReadProgress(203))
    assert spool.size == disk.capacity


def test_a_half_written_file_that_cannot_be_cut_back_is_damage() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.capacity = len(b"old\n") + 2
    disk.at = fails("before truncate")
    with pytest.raises(SpoolDamagedError, match="cannot be truncated: Input/output error"):
        spool.take(SLICES, ReadProgress(203))


def test_a_new_file_that_cannot_be_removed_is_damage() -> None:
    disk = RoughDisk()
    spool = begun(disk)
    disk.capacity = 2
    disk.at = fails("before remove")
    with pytest.raises(SpoolDamagedError):
        spool.take(SLICES, ReadProgress(203))


# Digests


def sha256_of(*pieces: bytes) -> str:
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def test_the_digest_of_what_was_written_is_known_without_reading() -> None:
    spool = begun(MemoryDisk())
    spool.take(
        [day_rows(0, b"a\n", 100), day_rows(0, b"b\n", 101), day_rows(1, b"c\n", 102)], ReadProgress(103), b"top\n"
    )
    spool.take([day_rows(0, b"d\n", 103), day_rows(0, b"{}\n", 104, quarantine=True)], ReadProgress(105), b"top\n")
    found = [spool.digest(file) for file in spool.files]
    assert [None if digest is None else (digest.top, digest.sha256) for digest in found] == [
        (b"top\n", sha256_of(b"top\na\nb\nd\n")),
        (b"", sha256_of(b"{}\n")),
        (b"top\n", sha256_of(b"top\nc\n")),
    ]


def test_a_digest_outlives_no_restart() -> None:
    """What the file holds is told by its checksum then."""
    disk = MemoryDisk()
    spool_with_rows(disk)
    found = again(disk)
    assert found.digest(found.files[0]) is None
    found.take([day_rows(0, b"more\n", 101), day_rows(1, b"new\n", 102)], ReadProgress(103), b"top\n")
    old, new = (found.digest(file) for file in found.files)
    assert old is None
    assert new is not None
    assert new.sha256 == sha256_of(b"top\nnew\n")


def test_rows_that_the_disk_refused_are_in_no_digest() -> None:
    disk = MemoryDisk()
    spool = begun(disk)
    spool.take([day_rows(0, b"a\n", 100)], ReadProgress(101), b"top\n")
    disk.capacity = 5
    with pytest.raises(SpoolFullError):
        spool.take([day_rows(0, b"lost\n", 101), day_rows(1, b"lost\n", 102)], ReadProgress(103), b"top\n")
    disk.capacity = 1 << 20
    spool.take([day_rows(0, b"b\n", 101), day_rows(1, b"c\n", 102)], ReadProgress(103), b"top\n")
    first, second = (spool.digest(file) for file in spool.files)
    assert first is not None
    assert second is not None
    assert (first.sha256, second.sha256) == (sha256_of(b"top\na\nb\n"), sha256_of(b"top\nc\n"))


def test_a_file_let_go_of_takes_its_digest_along() -> None:
    spool = begun(MemoryDisk())
    spool.take([day_rows(0, b"a\n", 100), day_rows(1, b"b\n", 101)], ReadProgress(102), b"top\n")
    first, second = spool.files
    spool.rebase(BASIS, [first])
    assert spool.digest(first) is None
    spool.drop(lambda found: True)
    assert spool.digest(second) is None
    spool.take([day_rows(0, b"z\n", 102)], ReadProgress(103), b"top\n")
    digest = spool.digest(spool.files[0])
    assert digest is not None
    assert digest.sha256 == sha256_of(b"top\nz\n")


# Checkpoints


def test_a_checkpoint_syncs_first_and_says_all() -> None:
    disk = RoughDisk()
    calls: list[str] = []
    disk.at = calls.append
    spool = begun(disk)
    told = ReadProgress(107, Counts(7, 6, 5, 4, 3, 2), {17: 105}, {day(3): 106}, 1_700_000_000_000)
    spool.take([day_rows(0, b"a\n", 100), day_rows(1, b"{}\n", 101, quarantine=True)], told)
    calls.clear()
    spool.checkpoint()
    assert calls == ["before sync", "after sync"] * 2 + ["before save", "after save"]
    found = again(disk)
    assert found.progress == told
    assert found.basis == BASIS
    assert found.files == spool.files


def test_only_what_grew_is_synced_and_nothing_new_saves_nothing() -> None:
    disk = RoughDisk()
    spool = begun(disk)
    spool.take([day_rows(0, b"a\n", 100), day_rows(1, b"b\n", 101)], ReadProgress(102))
    spool.checkpoint()
    calls: list[str] = []
    disk.at = calls.append
    spool.checkpoint()
    assert calls == []
    spool.take([day_rows(1, b"c\n", 102)], ReadProgress(103))
    spool.checkpoint()
    assert calls == ["before append", "after append", "before sync", "after sync", "before save", "after save"]


def test_a_spool_that_was_not_begun_saves_nothing() -> None:
    disk = MemoryDisk()
    spool = PartitionSpool(disk, ONE)
    spool.take((), ReadProgress(5))
    spool.checkpoint()
    assert disk.documents == {}


@pytest.mark.parametrize("call", ["before sync", "before save"])
def test_a_refused_checkpoint_leaves_the_old_one_and_is_tried_again(call: str) -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(0, b"new\n", 101)], ReadProgress(102))
    disk.at = fails(call, error=errno.ENOSPC)
    with pytest.raises(SpoolFullError, match="the checkpoint cannot be written to the spool: No space left on device"):
        spool.checkpoint()
    disk.at = lambda call: None
    spool.checkpoint()
    assert again(disk).progress == ReadProgress(102)
    assert bodies(again(disk), disk) == {(day(0), False): b"old\nnew\n"}


def test_a_refused_checkpoint_does_not_hide_the_older_one() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(0, b"new\n", 101)], ReadProgress(102))
    disk.at = fails("before save")
    with pytest.raises(SpoolFullError):
        spool.checkpoint()
    disk.at = lambda call: None
    found = again(disk)
    assert found.progress == ReadProgress(101)
    assert bodies(found, disk) == {(day(0), False): b"old\n"}


# Restoring


def test_without_a_checkpoint_there_is_no_spool_and_no_file() -> None:
    disk = MemoryDisk()
    disk.append(f"{FOLDER}/{day(0)}.1.csv", b"never checkpointed\n")
    disk.append("t-1/file.csv", b"another's")
    spool = PartitionSpool(disk, ONE)
    assert not restored(spool)
    assert (spool.basis, spool.files, spool.progress) == (None, [], ReadProgress(0))
    assert list(disk.files) == ["t-1/file.csv"]


def test_what_was_appended_after_the_checkpoint_is_cut() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(0, b"more\n", 101), day_rows(1, b"fresh\n", 102)], ReadProgress(103))
    found = again(disk)
    assert bodies(found, disk) == {(day(0), False): b"old\n"}
    assert {name: bytes(content) for name, content in disk.files.items()} == {found.files[0].name: b"old\n"}
    found.take([day_rows(0, b"other\n", 101), day_rows(1, b"rows\n", 102)], ReadProgress(103))
    assert bodies(found, disk) == {(day(0), False): b"old\nother\n", (day(1), False): b"rows\n"}


def test_names_are_not_used_twice_after_a_restore() -> None:
    disk = MemoryDisk()
    spool = begun(disk)
    spool.take([day_rows(0, b"a\n", 100), day_rows(1, b"b\n", 101)], ReadProgress(102))
    spool.rebase(BASIS, [spool.files[0]])
    found = again(disk)
    found.take([day_rows(2, b"c\n", 102), day_rows(0, b"late\n", 103)], ReadProgress(104))
    names = [file.name for file in found.files]
    assert len({name.split(".")[1] for name in names}) == 3
    assert bodies(found, disk)[day(0), False] == b"late\n"


def _shorter(disk: MemoryDisk, name: str) -> None:
    disk.truncate(name, 2)


def _missing(disk: MemoryDisk, name: str) -> None:
    disk.remove([name])


def _text(disk: MemoryDisk, name: str) -> None:
    disk.save(FOLDER, b"{half a docu")


def _list(disk: MemoryDisk, name: str) -> None:
    disk.save(FOLDER, b"[]")


def _edit(**changes: Any) -> Callable[[MemoryDisk, str], None]:
    def edit(disk: MemoryDisk, name: str) -> None:
        raw = orjson.loads(opened_text(disk.documents[FOLDER]))
        raw.update(changes)
        disk.save(FOLDER, sealed_text(orjson.dumps(raw)))

    return edit


DAMAGE: dict[str, Callable[[MemoryDisk, str], None]] = {
    "a file is shorter": _shorter,
    "a file is missing": _missing,
    "no document": _text,
    "a list": _list,
    "a newer version": _edit(version=3),
    "no progress": _edit(progress=None),
    "progress of another shape": _edit(progress={"position": 5}),
    "lists in place of tables": _edit(
        progress={"position": 1, "counts": {}, "known_schemas": [], "dropped": [], "first_timestamp": None}
    ),
    "no basis": _edit(basis=None),
    "another basis": _edit(basis={"topic_id": "id-1"}),
    "a number for files": _edit(files=3),
    "texts for files": _edit(files=["a", "b"]),
    "no day": _edit(files=[{"name": "t-0/x"}]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_spool_that_is_not_as_its_checkpoint_says_is_set_aside(damage: Callable[[MemoryDisk, str], None]) -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(1, b"second\n", 101)], ReadProgress(102))
    spool.checkpoint()
    left = {name: bytes(content) for name, content in disk.files.items()}
    damage(disk, spool.files[1].name)
    found = PartitionSpool(disk, ONE)
    assert not restored(found)
    assert (found.basis, found.files, found.progress) == (None, [], ReadProgress(0))
    assert (disk.files, disk.documents) == ({}, {})
    assert disk.aside[-1].items() <= left.items() or damage is _shorter
    assert disk.aside[-1]
    assert not restored(PartitionSpool(disk, ONE))


def test_any_flipped_bit_in_a_checkpoint_makes_it_void() -> None:
    """A digit of the position would skip or repeat rows; the files' own checksums say nothing of it."""
    disk = MemoryDisk()
    spool_with_rows(disk)
    files, document = {name: bytearray(content) for name, content in disk.files.items()}, disk.documents[FOLDER]
    for place in range(len(document)):
        for bit in (0, 3, 7):
            rotten = bytearray(document)
            rotten[place] ^= 1 << bit
            disk.files, disk.documents = {n: bytearray(c) for n, c in files.items()}, {FOLDER: bytes(rotten)}
            spool = PartitionSpool(disk, ONE)
            assert not restored(spool) or (spool.progress, spool.basis) == (ReadProgress(101), BASIS)


def test_foreign_files_in_the_folder_go() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    disk.append(f"{FOLDER}/{day(0)}.7.csv", b"of an older time\n")
    found = again(disk)
    assert disk.names(FOLDER) == [file.name for file in spool.files]
    assert bodies(found, disk) == {(day(0), False): b"old\n"}


def test_restoring_forgets_what_the_object_held_before() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(1, b"lost\n", 101)], ReadProgress(102))
    assert restored(spool)
    assert [file.day for file in spool.files] == [day(0)]
    disk.save(FOLDER, None)
    assert not restored(spool)
    assert (spool.files, spool.size) == ([], 0)


# Leaving


LEAVE: dict[str, Callable[[PartitionSpool], None]] = {
    "clear": PartitionSpool.clear,
    "begin": lambda spool: spool.begin(BASIS, 9),
    "set_aside": PartitionSpool.set_aside,
}


@pytest.mark.parametrize("call", ["before save", "before remove"])
@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_spool_that_cannot_be_emptied_says_so(leave: Callable[[PartitionSpool], None], call: str) -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.at = fails(call)
    with pytest.raises(SpoolFullError, match="cannot be emptied: Input/output error"):
        leave(spool)
    disk.at = lambda call: None
    if call != "before save":
        assert disk.load(FOLDER) is None  # the checkpoint goes first: nothing names files that are half gone
    leave(spool)
    assert disk.names(FOLDER) == []


def test_beginning_drops_the_old_rows_and_their_checkpoint_at_once() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    spool.begin(replace(BASIS, start=7), 7)
    assert (disk.files, disk.documents) == ({}, {})
    assert (spool.progress, spool.files, spool.size) == (ReadProgress(7), [], 0)
    spool.checkpoint()
    assert again(disk).basis == replace(BASIS, start=7)


def test_what_is_set_aside_can_be_looked_at() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    name = spool.files[0].name
    spool.set_aside()
    assert disk.aside == [{name: b"old\n"}]
    assert spool.basis is None


# Dropping and rebasing


def test_dropped_days_remember_their_first_offset() -> None:
    disk = MemoryDisk()
    spool = begun(disk)
    spool.take(
        [
            day_rows(0, b"a\n", 100),
            day_rows(1, b"b\n", 101),
            day_rows(1, b"{}\n", 102, quarantine=True),
            day_rows(2, b"c\n", 103),
        ],
        ReadProgress(104),
    )
    spool.drop(lambda found: found > day(0))
    assert spool.progress.dropped == {day(1): 101, day(2): 103}
    assert spool.progress.position == 104
    assert bodies(spool, disk) == {(day(0), False): b"a\n"}
    assert disk.names(FOLDER) == [spool.files[0].name]
    found = again(disk)
    assert found.progress.dropped == {day(1): 101, day(2): 103}
    found.take([day_rows(1, b"again\n", 200)], ReadProgress(201, dropped=found.progress.dropped))
    found.drop(lambda found: found == day(1))
    assert found.progress.dropped == {day(1): 101, day(2): 103}


def test_quarantine_before_the_rows_of_its_day_counts_for_the_first_offset() -> None:
    spool = begun(MemoryDisk())
    spool.take([day_rows(1, b"{}\n", 90, quarantine=True), day_rows(1, b"b\n", 101)], ReadProgress(104))
    spool.drop(lambda found: True)
    assert spool.progress.dropped == {day(1): 90}


def test_a_drop_lets_go_in_the_checkpoint_before_it_removes() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    calls: list[str] = []
    disk.at = calls.append
    spool.drop(lambda found: True)
    assert calls == ["before save", "after save", "before remove", "after remove"]


def test_thousands_of_files_are_removed_some_at_a_time() -> None:
    """A file system may take milliseconds for each. They are no part of the spool at once, and a crash leaves none."""
    disk = MemoryDisk()
    spool = begun(disk)
    many = 2 * SWEPT + 3
    spool.take([day_rows(number, b"a\n", 100 + number) for number in range(many)], ReadProgress(100 + many))
    spool.checkpoint()
    spool.rebase(BASIS, spool.files)
    assert (spool.days, spool.size, len(disk.files)) == (0, 0, many - SWEPT)
    spool.take([day_rows(0, b"b\n", 500)], ReadProgress(501))
    spool.checkpoint()
    copy = deepcopy(disk)
    found = again(copy)
    assert not found.sweep()
    assert len(copy.files) == 1
    assert [spool.sweep(), spool.sweep()] == [True, False]
    assert bodies(spool, disk) == {(day(0), False): b"b\n"}
    assert len(disk.files) == 1


class CountingDisk(MemoryDisk):
    """Counts the files of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.looked_at = 0

    def remove(self, names: Iterable[str]) -> None:
        self._count(names)
        super().remove(names)

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        self._count(names)
        super().set_aside(names, shelf)

    def clear_shelves(self, files: int) -> bool:
        self.most = max(self.most, files)
        return super().clear_shelves(files)

    def sync(self, names: Iterable[str]) -> None:
        self._count(names)
        super().sync(names)

    def length(self, name: str) -> int | None:
        self.looked_at += 1
        return super().length(name)

    def _count(self, names: Iterable[str]) -> None:
        self.most = max(self.most, len(list(names)))


MANY = 3 * SWEPT + 5


def with_many_files(disk: MemoryDisk) -> PartitionSpool:
    spool = begun(disk)
    spool.take([day_rows(number, b"a\n", 100 + number) for number in range(MANY)], ReadProgress(100 + MANY))
    return spool


def saved(spool: PartitionSpool) -> PartitionSpool:
    while not spool.checkpoint(SWEPT):
        pass
    return spool


def swept(spool: PartitionSpool) -> int:
    """How often it had to be called."""
    calls = 1
    while spool.sweep():
        calls += 1
    return calls


@pytest.mark.parametrize(
    "leave",
    [
        PartitionSpool.clear,
        PartitionSpool.set_aside,
        lambda spool: spool.begin(BASIS, 9),
        lambda spool: spool.drop(lambda _: True),
        lambda spool: spool.rebase(BASIS, spool.files),
    ],
    ids=["clear", "set_aside", "begin", "drop", "rebase"],
)
def test_no_call_touches_more_than_some_files(leave: Callable[[PartitionSpool], None]) -> None:
    disk = CountingDisk()
    spool = with_many_files(disk)
    leave(spool)
    assert (spool.files, spool.size) == ([], 0)
    assert swept(spool) >= MANY // SWEPT
    assert disk.names(FOLDER) == []
    assert 0 < disk.most <= SWEPT


def test_a_restore_looks_at_some_files_at_a_time() -> None:
    disk = CountingDisk()
    spool = begun(disk)
    many = 2 * LOOKED_AT + 1
    spool.take([day_rows(number, b"a\n", 100 + number) for number in range(many)], ReadProgress(100 + many))
    saved(spool)
    found = PartitionSpool(disk, ONE)
    seen = []
    for _ in found.restore():
        assert found.busy
        seen.append(disk.looked_at)
    assert seen == [LOOKED_AT, 2 * LOOKED_AT]
    assert not found.busy
    assert found.days == many


def test_rows_taken_while_old_files_wait_for_their_removal_are_not_mixed_with_them() -> None:
    disk = MemoryDisk()
    saved(with_many_files(disk))
    disk.save(FOLDER, None)
    spool = PartitionSpool(disk, ONE)
    assert not restored(spool)
    spool.begin(BASIS, 100)
    spool.take([day_rows(number, b"new\n", 100 + number) for number in range(MANY)], ReadProgress(100 + MANY))
    assert set(bodies(spool, disk).values()) == {b"new\n"}
    swept(spool)
    saved(spool)
    assert bodies(again(disk), disk) == bodies(spool, disk)
    assert len(disk.files) == MANY


def test_files_made_after_the_checkpoint_are_not_gone_on_with() -> None:
    disk = MemoryDisk()
    saved(begun(disk)).take(
        [day_rows(number, b"old\n", 100 + number) for number in range(MANY)], ReadProgress(100 + MANY)
    )
    found = again(disk)
    found.take([day_rows(number, b"new\n", 100 + number) for number in range(MANY)], ReadProgress(100 + MANY))
    assert set(bodies(found, disk).values()) == {b"new\n"}


def test_what_is_set_aside_is_all_kept_though_reading_begins_anew_at_once() -> None:
    """It may be the only copy of what Kafka holds no more."""
    disk = MemoryDisk()
    spool = saved(with_many_files(disk))
    disk.save(FOLDER, b"no checkpoint")
    assert not restored(spool)
    spool.begin(BASIS, 100)
    spool.take([day_rows(0, b"new\n", 100)], ReadProgress(101))
    swept(spool)
    assert [len(shelf) for shelf in disk.aside] == [MANY]
    assert bodies(spool, disk) == {(day(0), False): b"new\n"}


def test_what_cannot_be_moved_is_not_tried_for_ever() -> None:
    disk = RoughDisk()
    spool = with_many_files(disk)
    spool.set_aside()
    disk.at = fails("before set_aside", "before remove")
    assert swept(spool) <= MANY


def test_a_full_disk_does_not_keep_a_drop_from_giving_room() -> None:
    """The old checkpoint names files that are gone: void after a crash, and the log is read again."""
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(1, b"b\n", 101)], ReadProgress(102))
    spool.checkpoint()
    disk.at = fails("before save", error=errno.ENOSPC)
    spool.drop(lambda found: found == day(1))
    assert bodies(spool, disk) == {(day(0), False): b"old\n"}
    assert disk.names(FOLDER) == [spool.files[0].name]
    disk.at = lambda call: None
    spool.checkpoint()
    assert again(disk).progress.dropped == {day(1): 101}


def test_a_crash_before_a_drop_is_in_the_checkpoint_finds_no_spool() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.at = fails("before save", error=errno.ENOSPC)
    spool.drop(lambda found: True)
    disk.at = lambda call: None
    assert not restored(PartitionSpool(disk, ONE))


def test_dropped_files_that_cannot_be_removed_are_no_part_of_the_spool() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.at = fails("before remove")
    spool.drop(lambda found: True)
    disk.at = lambda call: None
    assert spool.size == 0
    assert again(disk).files == []
    assert disk.names(FOLDER) == []


def test_after_a_seal_the_spool_builds_on_it() -> None:
    disk = MemoryDisk()
    spool = begun(disk)
    spool.take(
        [day_rows(0, b"a\n", 100), day_rows(1, b"b\n", 101)],
        ReadProgress(102, Counts(2, 2), {17: 102}, {day(2): 99}, 1_700_000_000_000),
    )
    new = replace(BASIS, builds_on=5, start=101)
    spool.rebase(new, [file for file in spool.files if file.day == day(0)])
    assert spool.progress == ReadProgress(102)
    assert bodies(spool, disk) == {(day(1), False): b"b\n"}
    found = again(disk)
    assert (found.basis, found.progress) == (new, ReadProgress(102))
    assert bodies(found, disk) == {(day(1), False): b"b\n"}


def test_a_full_disk_does_not_keep_a_seal_from_giving_room() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.at = fails("before save", error=errno.ENOSPC)
    spool.rebase(replace(BASIS, builds_on=5), spool.files)
    assert disk.names(FOLDER) == []
    disk.at = lambda call: None
    spool.checkpoint()
    assert again(disk).basis == replace(BASIS, builds_on=5)


def test_files_that_cannot_be_removed_after_a_seal_go_with_the_next_restore() -> None:
    disk = RoughDisk()
    spool = spool_with_rows(disk)
    disk.at = fails("before remove")
    spool.rebase(replace(BASIS, builds_on=5), spool.files)
    disk.at = lambda call: None
    assert spool.files == []
    assert len(disk.names(FOLDER)) == 1
    assert again(disk).files == []
    assert disk.names(FOLDER) == []


# Any operations, a crash at any call

BODY = st.binary(max_size=6).map(lambda text: text.replace(b"\n", b"") + b"\n")
TAKE = st.tuples(st.just("take"), st.lists(st.tuples(st.integers(0, 3), st.booleans(), BODY), max_size=4))
OPERATION = st.one_of(
    TAKE,
    TAKE,
    st.tuples(st.just("checkpoint"), st.none()),
    st.tuples(st.just("drop"), st.integers(0, 3)),
    st.tuples(st.just("rebase"), st.integers(0, 3)),
    st.tuples(st.just("fill"), st.integers(0, 20)),
)
State = tuple[SpoolBasis | None, ReadProgress, dict[tuple[date, bool], bytes]]


class Story:
    """Does the operations, and remembers what a spool may be found as."""

    def __init__(self, disk: RoughDisk) -> None:
        self.disk = disk
        self.spool = PartitionSpool(disk, ONE)
        self.rows: dict[tuple[date, bool], bytes] = {}
        self.durable: State | None = None
        self.allowed: list[State | None] = [None]
        self.offset = 100

    def state(self) -> State:
        return (self.spool.basis, self.spool.progress, dict(self.rows))

    def begin(self) -> None:
        self.allowed = [None]
        self.spool.begin(BASIS, self.offset)

    def do(self, what: str, detail: Any) -> None:
        self.allowed = [self.durable]
        getattr(self, f"_{what}")(detail)
        self.allowed = [self.durable]

    def _take(self, pieces: list[tuple[int, bool, bytes]]) -> None:
        slices: list[DayRows] = []
        for number, quarantine, body in pieces:
            slices.append(day_rows(number, body, self.offset, quarantine=quarantine))
            self.offset += 1
        progress = replace(self.spool.progress, position=self.offset)
        try:
            self.spool.take(slices, progress)
        except SpoolFullError:
            return
        for rows in slices:
            key = (rows.day, rows.quarantine)
            self.rows[key] = self.rows.get(key, b"") + rows.body

    def _checkpoint(self, _: None) -> None:
        self.allowed.append(self.state())
        self.spool.checkpoint()
        self.durable = self.state()

    def _drop(self, number: int) -> None:
        firsts = {
            found: min(file.first_offset for file in self.spool.files if file.day == found)
            for found in {file.day for file in self.spool.files if file.day >= day(number)}
        }
        old = self.spool.progress.dropped
        merged = {**old, **{found: min(first, old.get(found, first)) for found, first in firsts.items()}}
        self.rows = {key: body for key, body in self.rows.items() if key[0] < day(number)}
        self.allowed.append((self.spool.basis, replace(self.spool.progress, dropped=merged), dict(self.rows)))
        self.spool.drop(lambda found: found >= day(number))
        self.durable = self.state()
        assert self.durable == self.allowed[-1]

    def _rebase(self, number: int) -> None:
        assert self.spool.basis is not None
        basis = replace(self.spool.basis, builds_on=self.spool.basis.builds_on + 1, start=self.offset)
        taken = [file for file in self.spool.files if file.day <= day(number)]
        self.rows = {key: body for key, body in self.rows.items() if key[0] > day(number)}
        self.allowed += [None, (basis, ReadProgress(self.spool.progress.position), dict(self.rows))]
        self.spool.rebase(basis, taken)
        self.durable = self.state()

    def _fill(self, room: int) -> None:
        """The disk is nearly full from here on; room comes back with what is removed."""
        self.disk.capacity = sum(map(len, self.disk.files.values())) + room


def _found(disk: MemoryDisk) -> State | None:
    spool = PartitionSpool(disk, ONE)
    if not restored(spool):
        assert (spool.basis, spool.files) == (None, [])
        assert disk.names(FOLDER) == []
        return None
    assert sorted(file.name for file in spool.files) == disk.names(FOLDER)
    assert all(disk.length(file.name) == file.length for file in spool.files)
    return (spool.basis, spool.progress, bodies(spool, disk))


@given(operations=st.lists(OPERATION, max_size=14), crash_at=st.integers(0, 80), seed=st.integers(0, 1 << 30))
@settings(max_examples=600, deadline=None)
def test_after_a_crash_the_files_are_just_the_rows_taken_up_to_the_position(
    operations: list[tuple[str, Any]], crash_at: int, seed: int
) -> None:
    disk = RoughDisk()
    story = Story(disk)
    left = crash_at

    def count(call: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crashed

    with suppress(Crashed):
        story.begin()
        disk.at = count
        for what, detail in operations:
            story.do(what, detail)
            assert bodies(story.spool, disk) == story.rows
    disk.at = lambda call: None
    disk.crash(Random(seed))
    assert _found(disk) in story.allowed


def test_a_restored_spool_can_be_restored_again() -> None:
    disk = MemoryDisk()
    spool = spool_with_rows(disk)
    spool.take([day_rows(0, b"unsynced\n", 101)], ReadProgress(102))
    disk.crash(Random(3))
    first = _found(disk)
    assert first is not None
    assert first[2] == {(day(0), False): b"old\n"}
    disk.crash(Random(4))
    assert _found(disk) == first


def test_a_spool_file_says_what_it_is() -> None:
    file = SpoolFile("t-0/x.csv", day(0), False, 1, 2, 3, 4, 5)
    assert (file.rows, file.first_offset, file.last_offset, file.length, file.crc) == (1, 2, 3, 4, 5)
