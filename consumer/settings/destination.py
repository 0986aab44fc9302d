"""`[destination]` and the overrides of streams: merged, checked, and separate from each other and the spool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as Folder
from ssl import PROTOCOL_TLS_CLIENT, SSLContext, SSLError
from typing import Any

from consumer.settings.model import DestinationSettings, StreamSettings
from consumer.settings.problems import Path, Problems
from consumer.settings.tables import read_table, require

Place = Callable[[str], Path]
BASE: Path = ("destination",)
_S3_ONLY = (
    "region",
    "endpoint_url",
    "access_key_id",
    "secret_access_key",
    "role_arn",
    "external_id",
    "ca_bundle",
    "server_side_encryption",
    "kms_key_id",
    "storage_class",
)
_OWN_FOLDERS = ("exports", "_quarantine", "_seals", "_replays", "_checks")


def read_destination(
    base: Mapping[str, Any], own: Mapping[str, Any], path: Path, folder: Folder, problems: Problems
) -> DestinationSettings:
    """The destination of one stream: its `own` keys (written at `path`) over those of `[destination]`.

    Relative paths start at `folder`.
    """

    def place(name: str) -> Path:
        return (*path, name) if name in own or name not in base else (*BASE, name)

    table = read_table(DestinationSettings, {**base, **own}, path if own else BASE, problems, place=place)
    home = path if "url" in own else BASE
    require("url", table, home, problems)
    if table.scheme == "file":
        return _local(table, own if "url" in own else {**base, **own}, home, problems, place)
    _check_together(table, problems, place)
    return _with_authorities(table, folder, problems, place)


def _with_authorities(
    table: DestinationSettings, folder: Folder, problems: Problems, place: Place
) -> DestinationSettings:
    """The bundle as a full path. A missing file, or one without a certificate, would look like an outage."""
    if not table.ca_bundle:
        return table
    bundle = folder / table.ca_bundle
    where, shown = place("ca_bundle"), problems.shown(place("ca_bundle"))
    try:
        SSLContext(PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
    except SSLError:
        problems.add(where, f"{shown}does not contain a certificate; write the path of a PEM file")
    except OSError as error:
        problems.add(where, f"{shown}cannot be read ({error.strerror}); write the path of a PEM file")
    return table.model_copy(update={"ca_bundle": str(bundle)})


def _local(
    table: DestinationSettings, given: Mapping[str, Any], home: Path, problems: Problems, place: Place
) -> DestinationSettings:
    """A local folder: S3 keys in the table of its url are mistakes, those of the base table are dropped."""
    for name in _S3_ONLY:
        if given.get(name):
            problems.add(place(name), "has no effect in a local folder; leave it out", also=[(*home, "url")])
    return table.model_copy(update={name: type(table).model_fields[name].default for name in _S3_ONLY})


def _check_together(table: DestinationSettings, problems: Problems, place: Place) -> None:
    key, secret = place("access_key_id"), place("secret_access_key")
    has_key, has_secret = bool(table.access_key_id), bool(table.secret_access_key.get_secret_value())
    if has_key and not has_secret:
        _missing_beside(key, "secret_access_key", "write both or neither", problems, secret)
    if has_secret and not has_key:
        _missing_beside(secret, "access_key_id", "write both or neither", problems, key)
    if table.external_id and not table.role_arn:
        _missing_beside(
            place("external_id"), "role_arn", "write the role, or leave the id out", problems, place("role_arn")
        )
    encryption, kms = place("server_side_encryption"), place("kms_key_id")
    if table.kms_key_id and table.server_side_encryption != "aws:kms":
        problems.add(kms, 'needs server_side_encryption = "aws:kms"; write it, or leave the key out', also=[encryption])
    if table.server_side_encryption == "aws:kms" and not table.kms_key_id:
        _missing_beside(encryption, "kms_key_id", "write the key's ARN", problems, kms)


def _missing_beside(given: Path, name: str, advice: str, problems: Problems, missing: Path) -> None:
    """Say it in the table of the key that asks for the other one."""
    problems.add((*given[:-1], name), f"is required with {given[-1]}; {advice}", also=[missing])


def check_apart(streams: Sequence[StreamSettings], spool: Folder, problems: Problems) -> None:
    """No destination is inside a folder that streams of another one fill, and none overlaps with the spool."""
    places = {_place(stream.destination): stream for stream in streams if stream.destination.url}
    for stream in streams:
        inner = _place(stream.destination)
        for outer, other in places.items():
            folder = inner[len(outer) : len(outer) + 1]
            taken = {s.name for s in streams if _place(s.destination) == outer}.union(_OWN_FOLDERS)
            if inner[: len(outer)] == outer and folder and folder[0] in taken:
                problems.add(
                    ("streams", stream.name, "destination", "url"),
                    f'is inside the folder "{folder[0]}" of the destination of stream "{other.name}";'
                    " choose a folder outside it",
                )
        if stream.destination.scheme == "file" and _nested(stream.destination.directory, spool):
            problems.add(
                ("spool", "directory"),
                f'and the destination of stream "{stream.name}" overlap; choose separate folders',
            )


def _place(destination: DestinationSettings) -> tuple[str, ...]:
    if destination.scheme == "file":
        return ("file", "", *destination.directory.parts)
    return (destination.endpoint_url, destination.bucket, *filter(None, destination.folder.split("/")))


def _nested(one: Folder, other: Folder) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
