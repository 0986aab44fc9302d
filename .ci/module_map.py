"""Writes docs/modules.md (every module of consumer/ by layer, with its docstring), commands.md and metrics.md."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "modules.md"
HEAD = """# Modules

Generated from the modules' docstrings by `make docs`; do not edit. The layers are listed from lowest to highest; each
imports only from lower ones, which `make layers` checks.
"""


def first_paragraph(path: Path) -> str:
    """What a module says of itself, on one line."""
    said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")


def layers() -> list[str]:
    """The packages from the lowest layer to the highest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [name.strip() for layer in reversed(contract["layers"]) for name in layer.split("|")]


def page() -> str:
    """The text of docs/modules.md."""
    parts = [HEAD]
    for package in layers():
        folder = ROOT / "consumer" / package
        rows = [
            f"| [{path.relative_to(folder)}](../{path.relative_to(ROOT)}) | {first_paragraph(path)} |"
            for path in sorted(folder.rglob("*.py"), key=lambda path: (len(path.parts), path))
            if path.name != "__init__.py"
        ]
        table = "\n".join(["| module | |", "|---|---|", *rows])
        parts.append(f"## `{package}/`\n\n{first_paragraph(folder / '__init__.py')}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    import command_page
    import metrics_page

    PAGE.write_text(page(), "utf-8")
    command_page.PAGE.write_text(command_page.page(), "utf-8")
    metrics_page.PAGE.write_text(metrics_page.page(), "utf-8")
