"""CI's audit of dependencies: a find fails, and silence is never told as soundness."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[3] / ".ci" / "audit.py"
FINDS = [{"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.11.3"]}]}]
CLEAN = {"name": "boto3", "version": "1.44.0", "vulns": []}
SKIPPED = {"name": "polars", "skip_reason": "not found"}
BROKEN = {"name": "orjson", "version": "3.1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ci_audit", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("canary", "locks", "code", "words"),
    [
        (FINDS, [CLEAN], 0, "no known vulnerability in 1 locked dependencies"),
        (FINDS, [CLEAN, BROKEN], 1, "orjson 3.1: CVE-1 (mended in no release)"),
        (FINDS, [CLEAN, SKIPPED], 0, "NOT AUDITED: polars. No known vulnerability in the 1 other"),
        (FINDS, None, 0, "NOT AUDITED"),
        (None, None, 0, "NOT AUDITED: no source"),
        ([], [CLEAN], 0, "NOT AUDITED: no source"),
        ([CLEAN], [CLEAN], 0, "NOT AUDITED: no source"),
        ([SKIPPED], [BROKEN], 1, "VULNERABLE"),
    ],
)
def test_the_verdict(audit: ModuleType, canary: Any, locks: Any, code: int, words: str) -> None:
    ended, text = audit.verdict(canary, locks)
    assert ended == code
    assert words in text
    assert (code == 0 and "NOT AUDITED" not in text) is (words.startswith("no known"))


def test_every_lock_is_asked_about_and_ci_asks(audit: ModuleType) -> None:
    root = FILE.parents[1]
    assert all((root / lock).is_file() for lock in audit.LOCKS)
    assert "--hash=sha256:" in (root / "requirements.lock").read_text()
    assert " audit" in (root / ".ci" / "run").read_text()
    assert ".ci/audit.py" in (root / "Makefile").read_text()


def test_an_end_without_an_answer_is_none(audit: ModuleType, tmp_path: Path) -> None:
    assert audit.ask("-r", str(tmp_path / "missing.txt")) is None
