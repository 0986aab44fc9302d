"""What the code says of itself is so: commands and pages that it names exist, and nothing ships that nobody uses."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from consumer.commands import main

ROOT = Path(__file__).parents[3]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "consumer").rglob("*.py"))
    if path.name != "__init__.py"
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMAND = re.compile(r"adapty-sink(?: --[a-z-]+ [^\s`]+)* ([a-z][a-z-]*)")


@dataclass(frozen=True, slots=True)
class Said:
    """What stands in a module: its strings, the names of its classes, and the full names of what it imports anywhere.

    Docstrings are strings, too; of a formatted one there are the parts that stand there.
    """

    texts: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    classes: list[str] = field(default_factory=list)


@cache
def said(path: Path) -> Said:
    tree, found = ast.parse(path.read_text()), Said()
    found.classes.extend(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found.texts.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            text = node.value
            found.texts.append(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        elif isinstance(node, ast.Import):
            found.imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, path
            found.imports.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


def test_a_command_that_a_string_names_exists() -> None:
    named = {word for path in MODULES.values() for text in said(path).texts for word in COMMAND.findall(text)}
    assert {"check", "accept-gap", "completion"} <= named
    assert named <= set(main.COMMANDS)


def test_a_command_that_a_page_names_exists() -> None:
    spans = [span for page in PAGES for span in re.findall(r"`([^`\n]+)`", page.read_text())]
    spans += [line for page in PAGES for line in re.findall(r"^adapty-sink .*", page.read_text(), re.MULTILINE)]
    named = {word for span in spans if span.startswith("adapty-sink") for word in COMMAND.findall(span)}
    assert "run" in named
    assert named <= set(main.COMMANDS)


def test_a_page_that_code_names_is_one_of_the_project() -> None:
    sources = [
        path
        for folder in ("consumer", "tests", "benchmarks", ".ci", "deploy")
        for path in (ROOT / folder).rglob("*.py")
    ]
    sources += [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "docker-compose.yml", *PAGES]
    seen = set()
    for source in sources:
        for name in re.findall(r"(?<![\w*{/.-])(?:docs/)?[\w-]+(?:/[\w-]+)*\.md\b", source.read_text()):
            seen.add(name)
            places = (ROOT / name, ROOT / "docs" / name, source.parent / name)
            assert any(place.exists() for place in places), (source.relative_to(ROOT).as_posix(), name)
    assert "docs/architecture.md" in seen


@pytest.mark.parametrize("module", MODULES)
def test_a_module_names_no_page_outside_docs(module: str) -> None:
    for name in re.findall(r"[\w/.-]+\.md\b", MODULES[module].read_text()):
        assert name.startswith("docs/"), f"write docs/{name}, and have it there"


def test_no_module_ships_that_nobody_imports() -> None:
    """Reached from the console command: a module that only tests import is a fake, and belongs below tests/."""
    reached: set[str] = set()
    open_ends = {"consumer.commands.main"}
    while open_ends:
        module = open_ends.pop()
        reached.add(module)
        open_ends |= (said(MODULES[module]).imports & MODULES.keys()) - reached
    assert MODULES.keys() - reached == set()


def test_a_class_name_has_one_meaning() -> None:
    named = Counter(name for path in MODULES.values() for name in said(path).classes)
    assert [name for name, times in named.items() if times > 1] == []


def test_every_runtime_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=~! ]", text)[0] for text in project["dependencies"]}
    imported = {name.partition(".")[0] for path in MODULES.values() for name in said(path).imports}
    providers = packages_distributions()
    used = {provider.lower().replace("_", "-") for name in imported for provider in providers.get(name, ())}
    assert declared - used == set()
