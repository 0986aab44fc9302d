"""What a worker finds in its spool directory when it starts: what crashed runs left there goes, what runs stays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from consumer.commands.wiring import spool_of
from consumer.replace.bodies import working_folder


def test_a_worker_removes_what_crashed_replacements_left(tmp_path: Path) -> None:
    left = tmp_path / "replacement-abcdefgh"
    with working_folder(tmp_path) as running:
        left.mkdir()
        (left / "00000000.rows").write_bytes(b"rows")
        with closing(spool_of(tmp_path)):
            assert not left.exists()
            assert running.exists(), "a command at work beside the worker"
