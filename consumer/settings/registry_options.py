"""`[schema_registry.options]`: the options of confluent-kafka's registry client, each with its type checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as File

from consumer.settings.problems import Path, Problems, suggestion
from consumer.settings.tables import OptionValue, revealed

CREDENTIALS_SOURCE = "basic.auth.credentials.source"
"""What the registry's vendor has users write; the client library does not know it."""


def _file(value: object) -> str:
    if not isinstance(value, str) or not File(value).is_file():
        return "is not a readable file; write the path of a PEM file"
    return ""


def _authority(value: object) -> str:
    if value is False or (isinstance(value, str) and File(value).is_dir()):
        return ""
    return _file(value)


def _number(value: object) -> str:
    return "" if _as_number(value) is not None else "is not a number; write e.g. 10"


def _text(value: object) -> str:
    return "" if isinstance(value, str) else "must be text"


def _user(value: object) -> str:
    return "" if isinstance(value, str) and ":" in value else 'must be "USER:PASSWORD"'


OPTIONS: Mapping[str, Callable[[object], str]] = {
    "ssl.ca.location": _authority,
    "ssl.certificate.location": _file,
    "ssl.key.location": _file,
    "ssl.key.password": _text,
    "basic.auth.user.info": _user,
    "proxy": _text,
    "timeout": _number,
    "max.retries": _number,
    "retries.wait.ms": _number,
    "retries.max.wait.ms": _number,
    "cache.capacity": _number,
    "cache.latest.ttl.sec": _number,
    **dict.fromkeys(
        (
            "bearer.auth.credentials.source",
            "bearer.auth.token",
            "bearer.auth.logical.cluster",
            "bearer.auth.identity.pool.id",
            "bearer.auth.client.id",
            "bearer.auth.client.secret",
            "bearer.auth.scope",
            "bearer.auth.issuer.endpoint.url",
        ),
        _text,
    ),
}
"""What is wrong with a value, "" if nothing is."""
_KEY = ("ssl.key.location", "ssl.key.password")


def checked_registry_options(
    options: Mapping[str, OptionValue], path: Path, problems: Problems
) -> dict[str, OptionValue]:
    """The options as the client takes them; what it would refuse, or fall over, is an error in the settings."""
    found = dict(options)
    source = found.pop(CREDENTIALS_SOURCE, None)
    for name, wrong in _together(found, source):
        problems.add((*path, name), wrong)
    for name, value in revealed(found).items():
        if wrong := _problem(name, value):
            problems.add((*path, name), wrong)
        elif OPTIONS.get(name) is _number and (number := _as_number(value)) is not None:
            found[name] = number
    return found


def _together(found: Mapping[str, OptionValue], source: OptionValue | None) -> Iterator[tuple[str, str]]:
    """What is wrong between options."""
    if source is not None and str(source) not in {"USER_INFO", "URL"}:
        yield CREDENTIALS_SOURCE, 'is not a valid value; write "USER_INFO"'
    if str(source) == "USER_INFO" and "basic.auth.user.info" not in found:
        yield "basic.auth.user.info", 'is required with "USER_INFO"; write "USER:PASSWORD"'
    if any(name in found for name in _KEY) and "ssl.certificate.location" not in found:
        yield "ssl.certificate.location", "is required with the key; write the path of the certificate"


def _problem(name: str, value: object) -> str:
    """What is wrong with one option."""
    if name == "url":
        return ""  # reported elsewhere
    return OPTIONS[name](value) if name in OPTIONS else f"unknown option; {suggestion(name, OPTIONS)}"


def _as_number(value: object) -> float | int | None:
    """A number, or a text of one: what comes from the environment is text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
