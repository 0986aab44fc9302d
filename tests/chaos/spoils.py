"""What becomes of a dead worker's spool before the next one starts on it."""

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path


def keep_copy(spool: Path, copy: Path) -> None:
    """Remember the spool as it is, for the older copy of later."""
    if spool.exists() and rows_in(spool):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(spool, copy)


def spoil(how: str, spool: Path, older: Path, other: Path) -> bool:
    """Do it; False where the spool had nothing to do it to. `older` and `other` are copies of earlier spools."""
    if not spool.exists():
        return how in {"kept", "deleted"}
    if how == "an older copy":
        return _replace(spool, older)
    if how == "another worker's":
        return _replace(spool, other)
    return {
        "kept": lambda _: True,
        "deleted": _delete,
        "truncated": _truncate,
        "one bit flipped": _flip,
        "of another partition": _swap,
        "without checkpoints": _forget,
        "noise for checkpoints": _noise,
    }[how](spool)


def rows_in(spool: Path) -> list[Path]:
    """The spool's files of rows that hold something."""
    found = [path for path in spool.rglob("*") if path.suffix in {".csv", ".jsonl"} and "aside" not in path.parts]
    return [path for path in found if path.stat().st_size]


def _replace(spool: Path, copy: Path) -> bool:
    if not copy.exists():
        return False
    shutil.rmtree(spool)
    shutil.copytree(copy, spool)
    return True


def _delete(spool: Path) -> bool:
    shutil.rmtree(spool)
    return True


def _truncate(spool: Path) -> bool:
    for path in rows_in(spool):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    return bool(rows_in(spool))


def _flip(spool: Path) -> bool:
    for path in rows_in(spool):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    return bool(rows_in(spool))


def _swap(spool: Path) -> bool:
    folders = sorted(path for path in spool.iterdir() if path.is_dir() and path.name != "aside")
    if len(folders) < 2:
        return False
    folders[0].rename(spool / "between")
    folders[1].rename(folders[0])
    (spool / "between").rename(folders[1])
    return True


def _forget(spool: Path) -> bool:
    place = spool / "checkpoints.sqlite"
    if not place.exists():
        return False
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(place)) as connection, connection:
        connection.execute("DELETE FROM checkpoints")
    return True


def _noise(spool: Path) -> bool:
    (spool / "checkpoints.sqlite").write_bytes(b"noise" * 1000)
    return True
