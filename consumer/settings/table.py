"""What every table of the settings file is made of: its keys, their texts for the operator, their types."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from consumer.settings import values

OptionValue = SecretStr | str | int | float | bool
"""One option of a client library, as TOML has it."""

MIB = 1024 * 1024
GIB = 1024 * MIB

Text = Annotated[str, BeforeValidator(values.text)]
Flag = Annotated[bool, BeforeValidator(values.flag)]
Size = Annotated[int, BeforeValidator(values.byte_size)]
Duration = Annotated[timedelta, BeforeValidator(values.duration)]


def key(written: str, meaning: str, *, default: Any, example: str = "", alias: str | None = None) -> Any:
    """A key of the file: its default as TOML writes it ("" where the key must be given), its meaning, an example."""
    shown = [example or written]
    return Field(
        default=default, description=meaning, examples=shown, alias=alias, json_schema_extra={"written": written}
    )


class Table(BaseModel):
    """A table of the file. Unknown keys are mistakes; errors never repeat what was given."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_by_alias=True
    )


def revealed(options: dict[str, OptionValue]) -> dict[str, str | int | float | bool]:
    """The options with secrets in clear."""
    return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in options.items()}
