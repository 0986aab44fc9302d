"""The tables of the settings file: what they are made of, and one table of the file -> its model.

All mistakes in a table are collected; a wrong value is left at its default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from consumer.domain.redaction import is_secret_name, without_userinfo
from consumer.settings import values
from consumer.settings.problems import Path, Problems, noun, suggestion

OptionValue = SecretStr | str | int | float | bool
"""One option of a client library, as TOML has it."""

MIB = 1024 * 1024
GIB = 1024 * MIB

Text = Annotated[str, BeforeValidator(values.text)]
Flag = Annotated[bool, BeforeValidator(values.flag)]
Size = Annotated[int, BeforeValidator(values.byte_size)]
Duration = Annotated[timedelta, BeforeValidator(values.duration)]


def key(written: str, meaning: str, *, default: Any, example: str = "", alias: str | None = None) -> Any:
    """A key of the file: its default as TOML writes it ("" if the key must be given), its meaning, an example."""
    shown = [example or written]
    return Field(
        default=default, description=meaning, examples=shown, alias=alias, json_schema_extra={"written": written}
    )


class Table(BaseModel):
    """A table of the file. Unknown keys are problems; errors never repeat what was given."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_by_alias=True
    )


def revealed(options: dict[str, OptionValue]) -> dict[str, str | int | float | bool]:
    """The options with secrets in clear."""
    return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in options.items()}


T = TypeVar("T", bound=Table)


def as_table(raw: object, path: Path, problems: Problems) -> dict[str, Any]:
    """The table itself, or an empty one if there is none or something else."""
    if isinstance(raw, Mapping):
        return dict(raw)
    if raw is not None:
        problems.no_table(path, raw)
    return {}


def read_table(
    model: type[T],
    raw: Mapping[str, Any],
    path: Path,
    problems: Problems,
    *,
    place: Callable[[str], Path] | None = None,
) -> T:
    """The table as `model`. `place` gives the place of a key if it is not below `path`."""
    where = place or (lambda name: (*path, name))
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    wrong = {str(detail["loc"][0]) for detail in details}
    for detail in details:
        name = str(detail["loc"][0])
        problems.add(where(name), _explained(model, name, detail, problems.shown(where(name))))
    return model.model_validate({name: value for name, value in raw.items() if name not in wrong})


def _explained(model: type[Table], name: str, detail: ErrorDetails, shown: str) -> str:
    if detail["type"] == "extra_forbidden":
        return f"unknown key; {suggestion(name, known_keys(model))}"
    if detail["type"] == "value_error":
        return f"{shown}{detail['ctx']['error']}"
    if detail["type"] == "literal_error":
        return f"{shown}is not a valid value; write {detail['ctx']['expected']}".replace("'", '"')
    return f"{shown}does not fit: {detail['msg'].lower()}"


def known_keys(model: type[Table]) -> list[str]:
    """The keys of a table as the file names them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def require(name: str, table: Table, path: Path, problems: Problems) -> None:
    """Note a problem where a key without a default is missing or empty."""
    if not getattr(table, name):
        field = type(table).model_fields[name]
        key = field.alias or name
        problems.add((*path, key), f"is missing; write e.g. {key} = {(field.examples or [''])[0]}")


def read_options(raw: object, path: Path, problems: Problems) -> dict[str, OptionValue]:
    """Options of a client library: dotted names, single values, secrets wrapped."""
    found: dict[str, OptionValue] = {}
    for parts, value in _leaves(as_table(raw, path, problems)):
        name = ".".join(parts)
        if isinstance(value, bool | int | float):
            found[name] = SecretStr(str(value)) if is_secret_name(name) else value
        elif isinstance(value, str):
            found[name] = SecretStr(value) if _is_secret(name, value) else str(value)
        else:
            problems.add((*path, *parts), f"must be text, a number, true or false, not {noun(value)}")
    return found


def _is_secret(name: str, value: str) -> bool:
    return is_secret_name(name) or without_userinfo(value) != value


def _leaves(table: Mapping[str, Any], above: Path = ()) -> list[tuple[Path, object]]:
    """Every single value; `security.protocol` without quotes makes tables of TOML, and means the same."""
    leaves: list[tuple[Path, object]] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            leaves += _leaves(value, (*above, name))
        else:
            leaves.append(((*above, name), value))
    return leaves
