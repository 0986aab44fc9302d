"""`schema --diff`: the settings' columns compared with the folder's, and with the registry's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumer.commands.retry import RetryBudget
from consumer.domain.errors import UsageError
from consumer.seal.folder_columns import out_of_order
from consumer.settings.model import Settings, StreamSettings
from consumer.streams.avro_schema import parse
from consumer.streams.columns import Column, column_kind


def bucket_differences(listed: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    """The folder's list against the settings: what comes, what stays empty, which order it cannot give."""
    moved = out_of_order(listed, own)
    for name in own:
        if name not in listed:
            yield (
                f"{name}: will be appended"
                if name not in moved
                else f"{name}: will be appended, not at its place in the schema"
            )
        elif name in moved:
            yield f"{name}: stays where the folder has it, not where the schema has it"
    for name in listed:
        if name not in own:
            yield f"{name}: kept, empty"


def newest_schema(settings: Settings, stream: StreamSettings, budget: RetryBudget) -> str:
    """The text of the newest writer schema of the stream's topic. Raises UsageError if there is none."""
    if settings.schema_registry is None:
        raise UsageError("--diff registry needs [schema_registry]")
    from consumer.decode.confluent_registry import ConfluentRegistry  # noqa: PLC0415 - its client is slow to load

    registry = ConfluentRegistry(settings.schema_registry.url, settings.schema_registry.plain_options())
    subject = f"{stream.topic}-value"
    try:
        answer = budget.ask(lambda: registry.newest(subject))
    finally:
        registry.close()
    if not answer.text:
        raise UsageError(f"--diff registry: the registry has no schema that can be read under {subject}")
    return answer.text


def registry_differences(own: Sequence[Column], stream: StreamSettings, text: str) -> Iterator[str]:
    """The newest writer schema against the columns. Raises SchemaError."""
    written = {field.name: field for field in parse(text).root.fields}
    inputs = {name for column in own for name in column.inputs}
    for name in written:
        if name not in inputs:
            yield f"{name}: written, not exported"
    for column in own:
        found = next((written[name] for name in column.inputs if name in written), None)
        if found is None:
            yield f"{column.name}: not written by {stream.topic}-value, empty"
        elif (kind := column_kind(found.type)) != column.kind and column.kind != "json":
            yield f"{column.name}: written as {kind}, exported as {column.kind}"
