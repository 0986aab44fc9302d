"""Schema files: found relative to the settings, or shipped with the kind; their text without white space."""

from __future__ import annotations

import json
from pathlib import Path as Folder

from consumer.settings.problems import Path, Problems


def normal(text: str) -> str:
    """The schema's JSON, the same text for the same schema. Raises ValueError if it is not JSON."""
    try:
        compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
        compact.encode()
    except (RecursionError, UnicodeEncodeError):
        raise ValueError("nested too deep, or not UTF-8") from None
    return compact


def read_schema(name: str, folder: Folder, path: Path, problems: Problems) -> str:
    """The normalised text of a schema file; empty, with a problem noted, if it is not JSON."""
    shown = problems.shown(path)
    try:
        return normal((folder / name).read_text(encoding="utf-8-sig"))
    except OSError as error:
        problems.add(path, f"{shown}cannot be read ({error.strerror}); write a path relative to the settings file")
    except ValueError:
        problems.add(path, f"{shown}is not JSON in UTF-8; write the path of an Avro schema (.avsc)")
    return ""
