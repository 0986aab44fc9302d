"""Settings files: nested tables as TOML text."""

import json
from collections.abc import Mapping
from typing import Any


def toml(tables: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Nested mappings as TOML."""
    plain = {name: value for name, value in tables.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in tables.items() if isinstance(value, Mapping)}
    lines = [f"{json.dumps(name)} = {_value(value)}" for name, value in plain.items()]
    head = [f"[{'.'.join(json.dumps(part) for part in path)}]"] if path and plain else []
    return "\n".join([*head, *lines, "", *(toml(value, (*path, name)) for name, value in nested.items())])


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    assert isinstance(value, str | bool | int | float), value
    return json.dumps(value)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, table by table."""
    out = dict(base)
    for name, value in over.items():
        known = out.get(name)
        out[name] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return out
