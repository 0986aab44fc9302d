"""Whose directory a spool is: nothing that somebody else put anywhere is deleted."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from consumer.domain.errors import UsageError
from consumer.spool.local import LocalDisk
from consumer.spool.mark import MARK
from consumer.store.compression import remove_leftovers


def test_a_new_directory_gets_the_mark(tmp_path: Path) -> None:
    with closing(LocalDisk(tmp_path / "spool")):
        mark = tmp_path / "spool" / MARK
        assert mark.read_text().startswith("This directory is a spool")
        assert mark.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["family-photos/a.jpg", "photos-2024/a.jpg", "notes.txt", "t-0/a.csv", "packed-lunch.txt"]
)
def test_a_directory_that_holds_anything_else_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="not the sink's"):
        LocalDisk(tmp_path)
    assert path.read_text() == "mine"
    assert not (tmp_path / MARK).exists()


def test_a_directory_of_an_earlier_release_gets_the_mark(tmp_path: Path) -> None:
    with closing(LocalDisk(tmp_path)) as disk:
        disk.append("adapty.events-3/2026-11-21.7.csv", b"x")
        disk.append("adapty.events-3/2026-11-21.8.jsonl", b"x")
        disk.append("u-1/2026-11-21.1.csv", b"x")
        disk.set_aside(["u-1/2026-11-21.1.csv"], disk.new_shelf())
    (tmp_path / MARK).unlink()
    for folder in ("lost+found", "crashes"):
        (tmp_path / folder).mkdir()
    (tmp_path / "packed-ab12_xyz").touch()
    with closing(LocalDisk(tmp_path)) as disk:
        assert (tmp_path / MARK).is_file()
        assert disk.folders() == ["adapty.events-3", "u-1"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "2026-11-21.7.csv").write_text("mine")
    with closing(LocalDisk(tmp_path / "spool")) as disk:
        (tmp_path / "spool" / "t-0").symlink_to(outside)
        (tmp_path / "spool" / "t-1").mkdir()
        (tmp_path / "spool" / "t-1" / "2026-11-21.7.csv").symlink_to(outside / "2026-11-21.7.csv")
        assert disk.folders() == ["t-1"]
        assert disk.names("t-1") == []
    (tmp_path / "spool" / MARK).unlink()
    with pytest.raises(UsageError, match="t-0"):
        LocalDisk(tmp_path / "spool")


def test_a_mark_is_enough(tmp_path: Path) -> None:
    with closing(LocalDisk(tmp_path)):
        (tmp_path / "notes.txt").touch()
    with closing(LocalDisk(tmp_path)) as disk:
        assert disk.folders() == []


def test_temporary_files_go_by_their_whole_name(tmp_path: Path) -> None:
    (tmp_path / "packed-ab12_xyz").touch()
    (tmp_path / "packed-lunch.txt").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["packed-lunch.txt"]
