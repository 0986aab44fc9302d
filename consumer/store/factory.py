"""From a destination's URL to its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from consumer.domain.errors import UsageError
from consumer.domain.location import Location, location_of
from consumer.domain.redaction import without_userinfo
from consumer.store.folder import FolderStore
from consumer.store.port import StreamingStore
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import S3Options

STORES: Mapping[str, Callable[[Location, S3Options], StreamingStore]] = {
    "s3": lambda location, options: S3Store(replace(options, bucket=location.bucket, prefix=location.folder)),
    "file": lambda location, _: FolderStore(location.directory),
}
"""The store of each scheme that `domain/location.py` knows."""


def open_store(url: str, options: S3Options | None = None) -> StreamingStore:
    """The store at this URL. No request is sent yet. `options` apply to S3 only. Raises UsageError."""
    try:
        location = location_of(url)
    except ValueError as error:
        raise UsageError(f"destination {without_userinfo(url)!r} {error}") from error
    return STORES[location.scheme](location, options or S3Options())
