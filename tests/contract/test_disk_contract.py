"""One contract, two disks: memory, and a real directory."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.errors import UsageError
from consumer.spool import local
from consumer.spool.disk import Disk
from consumer.spool.local import KEPT_ASIDE, OPEN_FILES, LocalDisk
from tests.fakes.disk import MemoryDisk
from tests.harness.small_disk import small_disk

FEW = 256 * 1024
"""Bytes that a disk made to run full takes."""


@pytest.fixture(params=["memory", "local"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
        return
    made = LocalDisk(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[LocalDisk]:
    made = LocalDisk(tmp_path / "spool")
    yield made
    made.close()


def content(disk: Disk, name: str) -> bytes:
    with disk.read(name) as reader:
        return reader.read()


# Files


def test_appends_stand_in_order(disk: Disk) -> None:
    for piece in (b"one\n", b"", b"two\n"):
        disk.append("t-0/a.csv", piece)
    disk.append("t-0/b.csv", b"other")
    assert content(disk, "t-0/a.csv") == b"one\ntwo\n"
    assert disk.length("t-0/a.csv") == 8
    assert disk.length("t-0/b.csv") == 5


def test_a_reader_begins_at_the_start_each_time_and_sees_what_stood_then(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"0123456789")
    with disk.read("t-0/a.csv") as first, disk.read("t-0/a.csv") as second:
        assert first.read(4) == b"0123"
        assert second.read(2) == b"01"
        assert first.read() == b"456789"


def test_a_missing_file_has_no_length_and_cannot_be_read(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"x")
    assert disk.length("t-0/none.csv") is None
    assert disk.length("none/none.csv") is None
    with pytest.raises(FileNotFoundError):
        disk.read("t-0/none.csv")


def test_what_is_appended_after_a_cut_stands_at_the_cut(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"keep-lose")
    disk.truncate("t-0/a.csv", 4)
    assert content(disk, "t-0/a.csv") == b"keep"
    disk.append("t-0/a.csv", b"+new")
    assert content(disk, "t-0/a.csv") == b"keep+new"
    disk.truncate("t-0/a.csv", 0)
    assert disk.length("t-0/a.csv") == 0


def test_a_removed_file_is_gone_and_may_begin_anew(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"old")
    disk.append("t-0/b.csv", b"stays")
    disk.remove(["t-0/a.csv", "t-0/never.csv"])
    assert disk.length("t-0/a.csv") is None
    disk.append("t-0/a.csv", b"new")
    assert content(disk, "t-0/a.csv") == b"new"
    assert content(disk, "t-0/b.csv") == b"stays"


def test_an_open_reader_outlives_the_removal(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"being uploaded")
    with disk.read("t-0/a.csv") as reader:
        disk.remove(["t-0/a.csv"])
        disk.append("t-0/a.csv", b"begun anew")
        assert reader.read() == b"being uploaded"


def test_names_are_those_of_one_folder(disk: Disk) -> None:
    for name in ("t-1/b.csv", "t-0/b.csv", "t-0/a.csv", "t-10/a.csv"):
        disk.append(name, b"x")
    assert disk.names("t-0") == ["t-0/a.csv", "t-0/b.csv"]
    assert disk.names("t-1") == ["t-1/b.csv"]
    assert disk.names("none") == []
    for name in disk.names("t-0"):
        assert disk.length(name) == 1


def test_folders_are_those_that_hold_files_but_not_what_was_set_aside(disk: Disk) -> None:
    assert disk.folders() == []
    for name in ("t-1/a.csv", "t-0/a.csv", "u-0/a.csv"):
        disk.append(name, b"x")
    disk.save("t-9", b"a document is no folder")
    assert disk.folders() == ["t-0", "t-1", "u-0"]
    disk.set_aside(["u-0/a.csv"], disk.new_shelf())
    assert "aside" not in disk.folders()
    assert disk.names("u-0") == []


def test_what_is_set_aside_is_out_of_the_way(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"doubtful")
    disk.append("t-0/b.csv", b"good")
    shelf = disk.new_shelf()
    disk.set_aside(["t-0/a.csv", "t-0/never.csv"], shelf)
    assert disk.names("t-0") == ["t-0/b.csv"]
    disk.append("t-0/a.csv", b"anew")
    assert content(disk, "t-0/a.csv") == b"anew"
    disk.set_aside([], shelf)
    assert content(disk, "t-0/b.csv") == b"good"


def test_sync_takes_any_files_or_none(disk: Disk) -> None:
    disk.append("t-0/a.csv", b"x")
    disk.append("t-1/a.csv", b"y")
    disk.sync([])
    disk.sync(["t-0/a.csv", "t-1/a.csv"])
    disk.append("t-0/a.csv", b"z")
    disk.sync(["t-0/a.csv"])
    assert content(disk, "t-0/a.csv") == b"xz"


# Checkpoints


def test_a_checkpoint_is_the_last_one_saved_whole(disk: Disk) -> None:
    assert disk.load("t-0") is None
    disk.save("t-0", b"a long document")
    disk.save("t-1", b"\x00\xff")
    disk.save("t-0", b"short")
    assert disk.load("t-0") == b"short"
    assert disk.load("t-1") == b"\x00\xff"
    disk.save("t-0", None)
    disk.save("t-0", None)
    assert disk.load("t-0") is None
    assert disk.load("t-1") == b"\x00\xff"


# Against a model

NAMES = st.sampled_from(["a-0/x", "a-0/y", "b-1/x"])
ACTIONS = st.one_of(
    st.tuples(st.just("append"), NAMES, st.binary(max_size=20)),
    st.tuples(st.just("truncate"), NAMES, st.integers(0, 20)),
    st.tuples(st.just("remove"), NAMES, st.none()),
    st.tuples(st.just("set_aside"), NAMES, st.none()),
    st.tuples(st.just("sync"), NAMES, st.none()),
)


@pytest.mark.parametrize("kind", ["memory", "local"])
@given(actions=st.lists(ACTIONS, max_size=25))
@settings(max_examples=40, deadline=None)
def test_files_are_what_was_done_to_them(kind: str, actions: list[tuple[str, str, bytes | int | None]]) -> None:
    with TemporaryDirectory() as folder:
        disk: Disk = MemoryDisk() if kind == "memory" else LocalDisk(Path(folder) / "spool")
        model: dict[str, bytes] = {}
        for action, name, detail in actions:
            _act(disk, model, action, name, detail)
            assert {found: content(disk, found) for found in _all_names(disk)} == model
        if isinstance(disk, LocalDisk):
            disk.close()


def _act(disk: Disk, model: dict[str, bytes], action: str, name: str, detail: bytes | int | None) -> None:
    if action == "append" and isinstance(detail, bytes):
        disk.append(name, detail)
        model[name] = model.get(name, b"") + detail
    elif action == "remove":
        disk.remove([name])
        model.pop(name, None)
    elif action == "set_aside":
        disk.set_aside([name], disk.new_shelf())
        model.pop(name, None)
    elif name in model and action == "sync":
        disk.sync([name])
    elif name in model and isinstance(detail, int):
        length = min(detail, len(model[name]))
        disk.truncate(name, length)
        model[name] = model[name][:length]


def _all_names(disk: Disk) -> list[str]:
    return [name for folder in disk.folders() for name in disk.names(folder)]


# A disk that runs full


@pytest.fixture(params=["memory", "local"])
def small(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk of `FEW` bytes: a file system of that size where we may mount one, else a `write` that says so."""
    if request.param == "memory":
        yield MemoryDisk(FEW)
        return
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, FEW) as mounted:
        if not mounted:
            monkeypatch.setattr(local, "os", _FullSystem(FEW))
        disk = LocalDisk(folder / "spool")
        yield disk
        disk.close()


class _FullSystem:
    """The system's calls over a disk of `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def write(self, handle: int, data: memoryview) -> int:
        if self._room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(handle, data[: self._room])
        self._room -= written
        return written

    def truncate(self, path: Path, length: int) -> None:
        self._room += path.stat().st_size - length
        os.truncate(path, length)


def _fill(disk: Disk, name: str) -> int:
    """Append until the disk takes no more; returns the bytes that were taken whole."""
    taken = 0
    while taken <= FEW:
        try:
            disk.append(name, b"x" * 10_000)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - which append it is, is not known
            return taken
        taken += 10_000
    pytest.fail("the disk took more than fits")


def test_a_full_disk_says_so_and_keeps_what_it_had(small: Disk) -> None:
    small.append("t-0/a.csv", b"before")
    taken = _fill(small, "t-0/b.csv")
    length = small.length("t-0/b.csv")
    assert length is not None
    assert taken <= length < taken + 10_000
    assert content(small, "t-0/a.csv") == b"before"
    assert content(small, "t-0/b.csv") == b"x" * length


def test_what_was_half_written_can_be_cut_and_room_comes_back(small: Disk) -> None:
    taken = _fill(small, "t-0/a.csv")
    small.truncate("t-0/a.csv", taken - 10_000)
    small.append("t-0/a.csv", b"y" * 5_000)
    assert content(small, "t-0/a.csv") == b"x" * (taken - 10_000) + b"y" * 5_000


def test_free_bytes_are_what_the_disk_still_takes(small: Disk) -> None:
    before = small.free_bytes()
    assert before > 100_000
    small.append("t-0/a.csv", b"x" * 100_000)
    if before <= FEW:  # else it is the machine's own disk, and others write on it
        assert small.free_bytes() <= before - 100_000
        small.remove(["t-0/a.csv"])
        assert small.free_bytes() >= before - 8192  # a folder takes a little


# A crash: memory only, which plays what a real disk may do


@given(
    synced=st.binary(max_size=30),
    tail=st.binary(max_size=30),
    fresh=st.binary(min_size=1, max_size=30),
    seed=st.integers(),
)
def test_a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest(
    synced: bytes, tail: bytes, fresh: bytes, seed: int
) -> None:
    disk = MemoryDisk()
    disk.append("t-0/a.csv", synced)
    disk.sync(["t-0/a.csv"])
    disk.append("t-0/a.csv", tail)
    disk.append("t-0/b.csv", fresh)
    disk.save("t-0", b"document")
    disk.crash(Random(seed))
    found = content(disk, "t-0/a.csv")
    assert found.startswith(synced)
    assert (synced + tail).startswith(found)
    assert disk.length("t-0/b.csv") is None or fresh.startswith(content(disk, "t-0/b.csv"))
    assert disk.load("t-0") == b"document"


def test_a_crash_may_take_all_and_may_leave_all_that_was_not_synced() -> None:
    left = set()
    for seed in range(200):
        disk = MemoryDisk()
        disk.append("t-0/a.csv", b"ab")
        disk.crash(Random(seed))
        left.add(disk.length("t-0/a.csv"))
    assert left == {None, 1, 2}


def test_a_file_begun_anew_is_not_synced_though_its_name_was() -> None:
    left = set()
    for seed in range(50):
        disk = MemoryDisk()
        disk.append("t-0/a.csv", b"abc")
        disk.sync(["t-0/a.csv"])
        disk.remove(["t-0/a.csv"])
        disk.append("t-0/a.csv", b"XYZ")
        disk.crash(Random(seed))
        left.add(disk.length("t-0/a.csv"))
    assert None in left


def test_a_cut_below_what_was_synced_is_what_a_crash_finds() -> None:
    disk = MemoryDisk()
    disk.append("t-0/a.csv", b"abcdef")
    disk.sync(["t-0/a.csv"])
    disk.truncate("t-0/a.csv", 2)
    disk.append("t-0/a.csv", b"XY")
    for seed in range(50):
        disk.crash(Random(seed))
        assert b"abXY".startswith(content(disk, "t-0/a.csv"))
        assert content(disk, "t-0/a.csv").startswith(b"ab")


def test_the_newest_sets_aside_are_kept() -> None:
    disk = MemoryDisk()
    for number in range(4):
        disk.append("t-0/a.csv", b"%d" % number)
        disk.set_aside(["t-0/a.csv"], disk.new_shelf())
    assert not disk.clear_shelves(4)
    assert disk.aside == [{"t-0/a.csv": b"3"}]


# The real directory


def test_one_worker_has_the_directory(tmp_path: Path) -> None:
    first = LocalDisk(tmp_path / "spool")
    with pytest.raises(UsageError, match=r"spool\.directory: .*spool is in use by another worker"):
        LocalDisk(tmp_path / "spool")
    LocalDisk(tmp_path / "other").close()
    first.append("t-0/a.csv", b"x")
    first.save("t-0", b"still works")
    assert first.load("t-0") == b"still works"
    first.close()
    LocalDisk(tmp_path / "spool").close()


def test_a_refused_second_worker_leaves_no_handle_behind(tmp_path: Path) -> None:
    first = LocalDisk(tmp_path / "spool")
    before = _handles(tmp_path)
    for _ in range(5):
        with pytest.raises(UsageError):
            LocalDisk(tmp_path / "spool")
    assert _handles(tmp_path) == before
    first.close()


def test_a_directory_that_cannot_be_written_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"spool\.directory: .*file cannot be written"):
        LocalDisk(tmp_path / "file")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "lock").mkdir()
    with pytest.raises(UsageError, match=r"spool\.directory: .*odd cannot be written"):
        LocalDisk(tmp_path / "odd")


def test_nobody_else_may_read(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        disk = LocalDisk(tmp_path / "a" / "spool")
        disk.append("t-0/a.csv", b"x")
        disk.append("t-0/b.csv", b"x")
        disk.save("t-0", b"document")
        disk.set_aside(["t-0/b.csv"], disk.new_shelf())
        disk.sync(["t-0/a.csv"])
        disk.close()
    finally:
        os.umask(mask)
    root = tmp_path / "a" / "spool"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    found = {path.relative_to(root): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert {path.name for path in found} >= {"lock", "a.csv", "t-0_b.csv", "checkpoints.sqlite", "t-0", "aside"}
    for path, mode in found.items():
        assert mode == (0o700 if (root / path).is_dir() else 0o600), path


def test_a_backlog_of_many_days_takes_few_handles(here: LocalDisk, tmp_path: Path) -> None:
    before = _handles(tmp_path)
    names = [f"t-0/{number:03d}.csv" for number in range(500)]
    for piece in (b"first,", b"second"):
        for name in names:
            here.append(name, piece)
            assert _handles(tmp_path) <= before + OPEN_FILES
    here.sync(names[::50])
    assert before < _handles(tmp_path) <= before + OPEN_FILES
    assert all(content(here, name) == b"first,second" for name in names)
    here.remove(names)
    assert _handles(tmp_path) == before


def test_the_handle_used_last_stays_open(here: LocalDisk) -> None:
    """A busy day among many quiet ones is not opened anew for each batch."""
    here.append("t-0/busy.csv", b"x")
    busy = here._handles["t-0/busy.csv"]
    for number in range(2 * OPEN_FILES):
        here.append(f"t-0/{number}.csv", b"x")
        here.append("t-0/busy.csv", b"x")
    assert here._handles["t-0/busy.csv"] == busy
    assert content(here, "t-0/busy.csv") == b"x" * (2 * OPEN_FILES + 1)


def test_closing_gives_every_handle_back(tmp_path: Path) -> None:
    before = _handles(tmp_path)
    disk = LocalDisk(tmp_path / "spool")
    for number in range(10):
        disk.append(f"t-0/{number}.csv", b"x")
    disk.close()
    assert _handles(tmp_path) == before


def _handles(folder: Path) -> int:
    """Open files below the folder: the process opens and closes others beside the test."""
    found = 0
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found += Path(handle.readlink()).is_relative_to(folder)
    return found


def test_short_writes_of_the_system_are_gone_on_with(here: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    here.append("t-0/a.csv", b"ten bytes!")
    monkeypatch.undo()
    assert content(here, "t-0/a.csv") == b"ten bytes!"


def test_sync_reaches_the_files_their_folders_and_the_root(
    here: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.append("t-0/a.csv", b"x")
    here.append("t-1/a.csv", b"x")
    here.append("t-2/a.csv", b"x")
    synced: list[str] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    here.sync(["t-0/a.csv", "t-1/a.csv"])
    root = str(tmp_path / "spool")
    assert sorted(synced) == sorted([root, f"{root}/t-0", f"{root}/t-0/a.csv", f"{root}/t-1", f"{root}/t-1/a.csv"])
    assert synced.index(f"{root}/t-0/a.csv") < synced.index(f"{root}/t-0")


def test_only_the_newest_set_aside_stays(here: LocalDisk, tmp_path: Path) -> None:
    for number in range(3):
        here.append("t-0/a.csv", b"%d" % number)
        here.set_aside(["t-0/a.csv"], here.new_shelf())
    assert not here.clear_shelves(16)
    kept = sorted((tmp_path / "spool" / "aside").iterdir())
    assert len(kept) == KEPT_ASIDE
    assert [path.read_bytes() for path in kept[-1].iterdir()] == [b"2"]


def test_shelves_are_cleared_some_files_at_a_time(disk: Disk) -> None:
    for _ in range(3):
        shelf = disk.new_shelf()
        for name in ("t-0/a.csv", "t-0/b.csv", "t-0/c.csv"):
            disk.append(name, b"x")
            disk.set_aside([name], shelf)
    assert [disk.clear_shelves(4), disk.clear_shelves(4)] == [True, False]
    assert not disk.clear_shelves(0)
    disk.append("t-0/a.csv", b"x")
    disk.set_aside(["t-0/a.csv"], shelf)
    assert disk.names("t-0") == []


def test_a_folder_in_the_way_is_no_file(here: LocalDisk, tmp_path: Path) -> None:
    here.append("t-0/a.csv", b"x")
    (tmp_path / "spool" / "t-0" / "folder").mkdir()
    assert here.names("t-0") == ["t-0/a.csv"]


def test_all_is_found_again(tmp_path: Path) -> None:
    first = LocalDisk(tmp_path / "spool")
    first.append("t-0/a.csv", b"rows")
    first.save("t-0", b"document")
    first.close()
    again = LocalDisk(tmp_path / "spool")
    assert content(again, "t-0/a.csv") == b"rows"
    assert again.load("t-0") == b"document"
    again.append("t-0/a.csv", b"+more")
    assert content(again, "t-0/a.csv") == b"rows+more"
    again.close()


def test_what_was_synced_and_saved_outlives_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from consumer.spool.local import LocalDisk\n"
        "disk = LocalDisk(Path(sys.argv[1]))\n"
        "disk.append('t-0/a.csv', b'rows'); disk.sync(['t-0/a.csv']); disk.save('t-0', b'document')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "spool")], check=False)
    disk = LocalDisk(tmp_path / "spool")
    assert content(disk, "t-0/a.csv") == b"rows"
    assert disk.load("t-0") == b"document"
    disk.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database at all, but long enough to look like one " * 20)


def _hole(path: Path) -> None:
    """Pages in the middle are zero."""
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _schema(path: Path) -> None:
    """The first page says nonsense of the tables."""
    data = bytearray(path.read_bytes())
    data[100:300] = b"\xff" * 200
    path.write_bytes(bytes(data))


def _rot(path: Path) -> None:
    """Every page can be read, and is wrong: only a check of all finds it."""
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 + 7] ^= 1  # how many bytes of the page are in fragments
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_garbage, _hole, _cut, _schema, _rot])
def test_damaged_checkpoints_are_put_aside(damage: Callable[[Path], None], tmp_path: Path) -> None:
    root = tmp_path / "spool"
    disk = LocalDisk(root)
    for number in range(8):
        disk.save(f"t-{number}", b"document" * 300)
    disk.append("t-0/a.csv", b"rows")
    disk.close()
    damage(root / "checkpoints.sqlite")
    damaged = (root / "checkpoints.sqlite").read_bytes()
    (root / "checkpoints.sqlite-wal").write_bytes(b"left over")
    again = LocalDisk(root)
    assert [again.load(f"t-{number}") for number in range(8)] == [None] * 8
    again.save("t-0", b"anew")
    assert again.load("t-0") == b"anew"
    assert content(again, "t-0/a.csv") == b"rows"
    again.close()
    assert [path.read_bytes() for path in root.glob("checkpoints.damaged-*.sqlite")] == [damaged]
    assert not (root / "checkpoints.sqlite-wal").exists()


def test_a_directory_that_takes_no_checkpoints_is_a_mistake_and_damages_nothing(tmp_path: Path) -> None:
    """Full, read-only: no reason to put what stands there aside."""
    root = tmp_path / "spool"
    (root / "checkpoints.sqlite").mkdir(parents=True)
    before = _handles(tmp_path)
    for _ in range(3):
        with pytest.raises(
            UsageError, match=r"spool\.directory: .*spool cannot store checkpoints .*free some space there"
        ):
            LocalDisk(root)
    assert _handles(tmp_path) == before
    assert (root / "checkpoints.sqlite").is_dir()
    (root / "checkpoints.sqlite").rmdir()
    LocalDisk(root).close()


def test_a_full_disk_refuses_a_checkpoint_and_keeps_the_old_one(here: LocalDisk) -> None:
    here.save("t-0", b"old")
    pages = here._checkpoints.execute("PRAGMA page_count").fetchone()[0]
    here._checkpoints.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match=r"checkpoint of t-0: .*full"):
        here.save("t-0", b"new" * 100_000)
    assert here.load("t-0") == b"old"
    here.save("t-0", None)
    assert here.load("t-0") is None


def test_a_checkpoint_that_cannot_be_read_is_as_good_as_none(here: LocalDisk) -> None:
    here.save("t-0", b"document")
    here._checkpoints.execute("DROP TABLE checkpoints")
    assert here.load("t-0") is None
    with pytest.raises(OSError, match="checkpoint of t-0"):
        here.save("t-0", b"document")


def test_checkpoints_are_written_through(here: LocalDisk) -> None:
    assert here._checkpoints.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_spool_file_is_a_plain_file(here: LocalDisk, tmp_path: Path) -> None:
    """People look into it, and move it by hand."""
    here.append("t-0/2026-03-01.1.csv", b"a,b\n")
    assert (tmp_path / "spool" / "t-0" / "2026-03-01.1.csv").read_bytes() == b"a,b\n"
