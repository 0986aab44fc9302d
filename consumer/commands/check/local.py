"""`check`: the settings and this machine: event types, static membership, the spool's folder and its space."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from consumer.commands.check.line import Line, failed, ok, warning
from consumer.commands.output import size_text
from consumer.settings.model import Settings, SpoolSettings, StreamSettings
from consumer.shape.native.extension import FoundExtension
from consumer.spool.mark import strangers
from consumer.streams.kinds import kind_of

KUBERNETES = "KUBERNETES_SERVICE_HOST"
"""Set in every container of a pod."""


def settings_lines(settings: Settings, environ: Mapping[str, str]) -> Iterator[Line]:
    """The settings are readable; values in them that are probably mistakes."""
    names = ", ".join(stream.name for stream in settings.streams)
    yield ok("settings", "readable", f"streams {names}")
    for stream in settings.streams:
        yield from _event_type_lines(stream)
    if KUBERNETES in environ and not settings.kafka.instance_id:
        yield warning(
            "settings",
            "static membership",
            "this is Kubernetes and kafka.instance_id is empty: each restart of a pod moves partitions twice",
            'run a StatefulSet and write kafka.instance_id = "${HOSTNAME}"',
        )


def _event_type_lines(stream: StreamSettings) -> Iterator[Line]:
    """Switches of event types that Adapty does not publish: allowed, as the list is open, and mostly a slip."""
    known = kind_of(stream.kind).event_types
    for name in sorted(set(stream.rules.filter.event_types) - known) if known else ():
        close = get_close_matches(name, known, n=1)
        yield warning(
            f"stream {stream.name}",
            "event_types",
            f"{name!r} is not an event type that Adapty publishes",
            f"did you mean {close[0]!r}?" if close else "leave it out, unless your producers send it",
        )


def engine_line(found: FoundExtension) -> Line:
    """Which engine turns records into rows."""
    if found.module:
        return ok("engine", "native", "rows are made by the native engine, exceptions by the exact one")
    return warning(
        "engine",
        "native",
        f"rows are made by the exact engine: {found.reason}. The same rows, with fifty times the CPU time",
        "install adapty-sink[native] of this release, or set the CPU limit accordingly",
    )


def spool_lines(spool: SpoolSettings) -> Iterator[Line]:
    """The spool's folder supports files and locks, is a spool, and has space for its limit. Runs next to a worker."""
    subject = f"spool {spool.directory}"
    home = _nearest(spool.directory)
    try:
        lock = _try(home)
        free = shutil.disk_usage(home).free
        strange = strangers(home) if home == spool.directory else ""
    except OSError as error:
        yield failed(
            subject,
            "writable",
            f"files cannot be written to {home}: {error.strerror or error}",
            "create the directory, owned by the user that runs the worker, or set spool.directory to another one",
        )
        return
    yield ok(subject, "writable", f"files can be written to {home}")
    if lock:
        yield failed(subject, "locks", f"{home} does not support file locks ({lock})", "use a volume with file locks")
    if strange:
        detail = f"it has files that are not the sink's ({strange}), and files in a spool are deleted"
        yield failed(subject, "contents", detail, "set spool.directory to an empty directory")
    yield _room_line(subject, spool, free, _used(spool.directory))


def _room_line(subject: str, spool: SpoolSettings, free: int, used: int) -> Line:
    wanted = spool.max_bytes + spool.min_free_bytes
    room = f"{size_text(free)} free, {size_text(used)} used by the spool"
    if free < spool.min_free_bytes:
        return failed(
            subject,
            "room",
            f"{room}; below spool.min_free_bytes = {size_text(spool.min_free_bytes)} reading stops",
            "free space, or lower spool.min_free_bytes",
        )
    if free + used < wanted:
        return warning(
            subject,
            "room",
            f"{room}; spool.max_bytes and spool.min_free_bytes together need {size_text(wanted)}",
            "give it a larger volume, or lower spool.max_bytes: a day that does not fit is sealed in several parts",
        )
    return ok(subject, "room", room)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def _try(folder: Path) -> str:
    """Write a file there. Why it cannot be locked, "" if it can. Raises OSError if it cannot be written."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".adapty-sink-check-") as file:
        file.write(b"check")
        file.flush()
        os.fsync(file.fileno())
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return f"{errno.errorcode.get(error.errno or 0, '')}: {error.strerror}"
    return ""


def _used(folder: Path) -> int:
    """Bytes of files in the spool; those that a worker deletes meanwhile do not count."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
