"""docs/check.md is the list of what `check` finds: every line of it is there, and so is the test that holds it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from consumer.commands.check.store import _steps
from tests.fakes.store import MemoryStore

ROOT = Path(__file__).parents[3]
ROWS = re.findall(
    r"^\| ([a-z, ]+): `([^`]+)` \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs/check.md").read_text(), re.MULTILINE
)


def _names(tree: ast.AST) -> Iterator[str]:
    """The second argument of each `ok`, `warning` and `failed`, where it stands there or in a variable `check`."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"ok", "warning", "failed"}
        ):
            name = node.args[1]
            if isinstance(name, ast.Constant):
                yield str(name.value)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "check":
            assert isinstance(node.value, ast.Constant)
            yield str(node.value.value)


def test_every_line_is_in_the_list() -> None:
    pages = (ROOT / "consumer/commands/check").glob("*.py")
    said = {name for page in pages for name in _names(ast.parse(page.read_text()))}
    said |= {name for name, _, _ in _steps(MemoryStore(), "key")}
    assert len(said) > 20
    assert said == {name for _, name, _ in ROWS}


def test_every_line_has_its_tests() -> None:
    for _, name, tests in ROWS:
        named = re.findall(r"`([a-z_/]+)::(test_[a-z0-9_]+)`", tests)
        assert named, name
        for module, test in named:
            assert f"\ndef {test}(" in (ROOT / "tests" / f"{module}.py").read_text(), (name, test)
