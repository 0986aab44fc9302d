"""`[privacy.keys]` and `[streams.X.privacy]`: keys by name, and the treatment of personal columns."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from consumer.settings.model import PrivacySettings
from consumer.settings.problems import Path, Problems, suggestion
from consumer.settings.stream_table import PrivacyTable
from consumer.settings.tables import as_table
from consumer.streams.columns import Column, personal_columns
from consumer.streams.privacy import KEY_NAME, fingerprint, key_from
from consumer.streams.rules import Method, Privacy, RowRules

KEYS: Path = ("privacy", "keys")


def read_keys(raw: object, problems: Problems) -> PrivacySettings:
    """The table `[privacy]`. No message repeats a key."""
    table = as_table(raw, KEYS[:1], problems)
    for name in table.keys() - {"keys"}:
        problems.add(("privacy", name), f"unknown key; {suggestion(name, ['keys'])}")
    found: dict[str, SecretStr] = {}
    for name, written in as_table(table.get("keys"), KEYS, problems).items():
        try:
            found[name] = _key(name, written)
        except ValueError as error:
            problems.add((*KEYS, name), str(error))
    return PrivacySettings(keys=found)


def _key(name: str, written: object) -> SecretStr:
    if not KEY_NAME.fullmatch(name):
        raise ValueError("is not a valid key name; use letters, digits, '_' and '-', at most 100")
    if not isinstance(written, str):
        raise ValueError("must be text; put the key in quotes")  # noqa: TRY004 - collected as a problem
    key_from(written)
    return SecretStr(str(written))


def privacy_of(table: PrivacyTable, keys: PrivacySettings, path: Path, problems: Problems) -> Privacy:
    """The privacy rules of a stream; those against its columns are for `check_rules`."""
    hashes = Method.HASH in table.columns.values()
    if not table.key:
        return Privacy(table.columns)
    if table.key not in keys.keys:
        problems.add(
            (*path, "key"),
            f"{problems.shown((*path, 'key'))}is not in [privacy.keys]; add it there, as hexadecimal or base64",
            also=[(*KEYS, table.key)],
        )
        return Privacy(table.columns, table.key if hashes else None, "" if hashes else None)
    secret = key_from(keys.keys[table.key].get_secret_value())
    return Privacy(table.columns, table.key, fingerprint(secret)) if hashes else Privacy(table.columns)


def personal_of(
    table: PrivacyTable, rules: RowRules, columns: Sequence[Column], path: Path, problems: Problems
) -> tuple[str, ...]:
    """The columns with personal data: from the stream's settings, otherwise as marked in its schema."""
    if table.personal is None:
        return personal_columns(rules)
    names = [column.name for column in columns]
    for name in table.personal:
        if name not in names:
            problems.add((*path, "personal"), f"the stream has no column {name!r}; {suggestion(name, names)}")
    return table.personal
