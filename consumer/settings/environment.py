"""`${NAME}` in the settings: replaced from the environment inside any text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from consumer.settings.problems import Path, Problems

_REFERENCE = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<broken>\$\{)")
_DEEPEST = 16


class FromEnvironment(str):
    """Text that came, in full or in part, from the environment: it may be used for a number or a switch."""

    __slots__ = ()


def taken(tree: object, environ: Mapping[str, str], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Where the settings take something from the environment, and what."""
    if isinstance(tree, str):
        yield from ((path, environ[m["name"]]) for m in _REFERENCE.finditer(tree) if m["name"] and m["name"] in environ)
    elif isinstance(tree, (Mapping, list)) and len(path) < _DEEPEST:
        for key, item in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from taken(item, environ, (*path, str(key)))


def filled_in(tree: Mapping[str, Any], environ: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    """The settings with every `${NAME}` replaced. A value that cannot be made is reported and left out."""
    return {key: value for key, raw in tree.items() if (value := _value(raw, environ, problems, (key,))) is not None}


def _value(raw: object, environ: Mapping[str, str], problems: Problems, path: Path) -> Any | None:
    if isinstance(raw, str):
        return _text(raw, environ, problems, path)
    if not isinstance(raw, (Mapping, list)):
        return raw
    if len(path) >= _DEEPEST:
        problems.add(path, "is nested too deep; no setting is at that depth")
        return None
    items = raw.items() if isinstance(raw, Mapping) else enumerate(raw)
    pairs = [(key, _value(item, environ, problems, (*path, str(key)))) for key, item in items]
    kept = [(key, item) for key, item in pairs if item is not None]
    return dict(kept) if isinstance(raw, Mapping) else [item for _, item in kept]


def _text(raw: str, environ: Mapping[str, str], problems: Problems, path: Path) -> str | None:
    if "${" not in raw:
        return raw
    missing = []
    for match in _REFERENCE.finditer(raw):
        if match["broken"]:
            missing.append('contains "${" without a name and "}"; write ${NAME}, or $${ for the characters themselves')
        elif match["name"] and match["name"] not in environ:
            name = match["name"]
            missing.append(f"takes ${{{name}}} from the environment, but it is not set; set {name} or write a value")
    if missing:
        problems.add_each(path, missing)
        return None
    return FromEnvironment(_REFERENCE.sub(lambda match: environ[match["name"]] if match["name"] else "${", raw))
