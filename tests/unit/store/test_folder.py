"""The folder as a destination: what the contract suite cannot ask of every store."""

import errno
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store import folder
from consumer.store.folder import TEMPORARY, FolderStore
from consumer.store.port import Absent, BytesBody, Condition, Match, Refused, Written
from tests.builders.racing import put_at_once

KEY = "events/dt=2026-11-21/part.csv"
BODY = BytesBody(b"rows\n")
WRITERS = 4


def add(store: FolderStore, key: str = KEY) -> Written:
    outcome = store.put(key, BODY, condition=Absent())
    assert isinstance(outcome, Written)
    return outcome


def refuse(name: str, error: int) -> Callable[..., object]:
    """A system call that fails so."""

    def fail(*_args: object, **_options: object) -> object:
        raise OSError(error, os.strerror(error), name)

    return fail


def test_a_missing_folder_is_made_but_not_its_parent(tmp_path: Path) -> None:
    add(FolderStore(tmp_path / "out"))
    assert (tmp_path / "out" / KEY).read_bytes() == b"rows\n"
    unmounted = FolderStore(tmp_path / "volume" / "out")
    asked: list[Callable[[], object]] = [
        lambda: add(unmounted),
        lambda: unmounted.get(KEY),
        lambda: unmounted.head(KEY),
        lambda: unmounted.open(KEY),
        lambda: list(unmounted.list("")),
        unmounted.now,
    ]
    for ask in asked:
        with pytest.raises(HaltError, match="mount or create it") as caught:
            ask()
        assert caught.value.reason is HaltReason.MISSING_BUCKET
    assert not (tmp_path / "volume").exists()


def test_a_root_that_vanished_is_made_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store)
    (tmp_path / "out").rename(tmp_path / "away")
    assert list(store.list("")) == []
    add(store)
    assert [facts.key for facts in store.list("")] == [KEY]


def test_nothing_temporary_stays_or_shows(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store)
    assert store.put(KEY, BODY, condition=Absent()) == Refused()
    store.now()
    assert list((tmp_path / "out" / TEMPORARY).iterdir()) == []
    assert [facts.key for facts in store.list("")] == [KEY]
    assert list(store.list(TEMPORARY)) == []


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Rows are nobody else's, and who may read the lock could hold it forever."""
    store = FolderStore(tmp_path / "out")
    add(store)
    facts = store.head(KEY)
    assert facts is not None
    store.put(KEY, BytesBody(b"more"), condition=Match(facts.etag))
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}


def test_only_old_leftovers_of_crashes_are_removed(tmp_path: Path) -> None:
    """And nothing that others left in that folder."""
    leftovers = tmp_path / "out" / TEMPORARY
    leftovers.mkdir(parents=True)
    old, young = f"17-{'0a' * 12}", f"18-{'0b' * 12}"
    others = {"lock", "photo.jpg", f"{old}.jpg", f"{old[:-1]}"}
    for name in (old, young, *others):
        (leftovers / name).write_bytes(b"half")
    for name in (old, *others):
        os.utime(leftovers / name, (1, 1))
    add(FolderStore(tmp_path / "out"))
    assert {path.name for path in leftovers.iterdir()} == {young, *others}


@pytest.mark.parametrize("call", ["fsync", "mkdir", "link"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    store = FolderStore(tmp_path / "out")
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse(call, error))
        with pytest.raises(TransientError, match=os.strerror(error)) as caught:
            add(store)
        assert not isinstance(caught.value, UnknownOutcomeError)
    assert store.get(KEY) is None
    add(store)
    assert [path.name for path in (tmp_path / "out" / TEMPORARY).iterdir()] == []


def test_a_disk_that_fails_while_it_is_read_is_an_outage(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store)
    for size in (-1, 1):
        reader = store.open(KEY)
        assert reader is not None
        folder_descriptor = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder_descriptor, reader.fileno())  # reading a folder fails as a broken disk does
        os.close(folder_descriptor)
        with reader, pytest.raises(TransientError, match="cannot read"):
            reader.read(size)


def test_a_folder_that_cannot_be_made_durable_is_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "out")
    add(store, "events/dt=2026-11-21/other.csv")
    fsync = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    with pytest.raises(UnknownOutcomeError, match="may not survive a crash"):
        add(store)


def test_each_file_and_each_folder_on_the_way_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "out"
    store = FolderStore(root)
    add(store)
    final = root / "events" / "dt=2026-11-21"
    assert [path for path in synced if path.parent == root / TEMPORARY]  # the file itself
    assert synced.index(tmp_path) < synced.index(root) < synced.index(root / "events") < synced.index(final)
    assert synced[-1] == final
    synced.clear()
    assert store.put(KEY, BODY, condition=Absent()) == Refused()
    assert synced == [final]


def test_a_file_system_without_hard_links_halts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse("link", errno.EPERM))
    with pytest.raises(HaltError, match="without hard links") as caught:
        add(FolderStore(tmp_path / "out"))
    assert caught.value.reason is HaltReason.UNSAFE_STORE


def test_a_link_that_nfs_repeated_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    add(FolderStore(tmp_path / "out"))


def test_an_etag_never_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though time stands still, and the file system gives inodes out again."""
    store = FolderStore(tmp_path / "out")
    first = add(store).etag
    os.utime(tmp_path / "out" / KEY, ns=(2**62, 2**62))
    facts = store.head(KEY)
    assert facts is not None
    etags = [first, facts.etag]
    inode = (tmp_path / "out" / KEY).stat().st_ino
    monkeypatch.setattr(folder, "_etag", lambda status: f"{status.st_mtime_ns}-{status.st_size}-{inode}")
    etags.append(f"{2**62}-5-{inode}")
    for _ in range(5):
        outcome = store.put(KEY, BODY, condition=Match(etags[-1]))
        assert isinstance(outcome, Written)
        etags.append(outcome.etag)
    assert len(set(etags)) == len(etags)


def test_a_lock_held_for_too_long_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.05)
    store = FolderStore(tmp_path / "out")
    etag = add(store).etag
    with store._lock(), pytest.raises(TransientError, match="cannot write"):
        store.put(KEY, BODY, condition=Match(etag))
    assert isinstance(store.put(KEY, BODY, condition=Match(etag)), Written)


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a//b", "a/./b", "a/../../b", "a\0b", f"{TEMPORARY}/x", "a/"]
)
def test_keys_stay_inside(tmp_path: Path, key: str) -> None:
    store = FolderStore(tmp_path / "out")
    for ask in (lambda: store.put(key, BODY, condition=Absent()), lambda: store.get(key), lambda: store.head(key)):
        with pytest.raises(ValueError, match="not a valid key"):
            ask()


def test_a_key_below_another_object_is_an_outage_not_a_loss(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store)
    with pytest.raises(TransientError, match="cannot write"):
        add(store, f"{KEY}/below")
    assert store.get(f"{KEY}/below") is None


def test_hidden_topics_are_listed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store, "_seals/.topic/0/00000000.json")
    assert [facts.key for facts in store.list("_seals/")] == ["_seals/.topic/0/00000000.json"]


def test_one_of_many_processes_wins(tmp_path: Path) -> None:
    root = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(WRITERS) as pool:
        start = manager.Barrier(WRITERS)

        def race(condition: Condition) -> bytes:
            """What the only winner wrote."""
            won = pool.starmap(
                put_at_once, [(root, KEY, start, writer, condition) for writer in range(WRITERS)], chunksize=1
            )
            assert sum(won) == 1
            return b"writer %d" % won.index(True)

        assert race(Absent()) == (root / KEY).read_bytes()
        for _ in range(10):
            facts = FolderStore(root).head(KEY)
            assert facts is not None
            assert race(Match(facts.etag)) == (root / KEY).read_bytes()


NAMES = st.sampled_from(["a", "b", "a-b", "a.b", "a0", "_x", ".y"])
KEYS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None)
@given(st.sets(KEYS, max_size=12), KEYS, st.integers(0, 8), KEYS, st.integers(0, 8))
def test_lists_are_as_those_of_s3(
    keys: set[str], prefix: str, prefix_length: int, after: str, after_length: int
) -> None:
    prefix, after = prefix[:prefix_length], after[:after_length]
    files = {key for key in keys if not any(other.startswith(f"{key}/") for other in keys)}
    with TemporaryDirectory() as root:
        store = FolderStore(Path(root))
        for key in files:
            path = Path(root, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        listed = [facts.key for facts in store.list(prefix, after=after)]
    assert listed == [key for key in sorted(files) if key.startswith(prefix) and key > after]


# What others put there


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    add(store)
    place = tmp_path / "out" / "events" / "_days.json"
    os.mkfifo(place)
    assert store.get("events/_days.json") is None
    assert store.open("events/_days.json") is None
    assert store.head("events/_days.json") is None
    assert not store.copy("events/_days.json", "kept", etag="x")
    assert [one.key for one in store.list("")] == [KEY]
    assert isinstance(store.put("events/_days.json", BODY, condition=Absent()), Refused)


def test_links_that_lead_back_are_passed_over(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    store = FolderStore(root)
    add(store)
    (root / "events" / "back").symlink_to(root / "events")
    (root / "events" / "itself").symlink_to(root / "events" / "itself")
    elsewhere.mkdir()
    (elsewhere / "old.csv").write_bytes(b"x")
    (elsewhere / "again").symlink_to(elsewhere)
    (root / "events" / "dt=2026-11-20").symlink_to(elsewhere)
    assert [one.key for one in store.list("")] == ["events/dt=2026-11-20/old.csv", KEY]
    assert store.head("events/itself") is None
