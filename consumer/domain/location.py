"""Destination URLs and their only parser: the settings report its errors, the store is opened with its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

LONGEST_FOLDER = 500
"""Bytes of the folder's name: the rest of the 1,024 that S3 allows is for our own keys."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Location:
    """A destination. `bucket` is empty for a local folder; `folder` has no slash at its ends."""

    scheme: str = ""
    bucket: str = ""
    folder: str = ""

    @property
    def directory(self) -> Path:
        """A local folder's full path."""
        return Path("/", self.folder)

    @property
    def url(self) -> str:
        """The one way to write it."""
        if not self.bucket:
            return self.directory.as_uri()
        return f"{self.scheme}://{self.bucket}/{self.folder}".rstrip("/")


def location_of(url: str) -> Location:
    """The destination that a URL names. Raises ValueError with the way out."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        raise ValueError("is not a URL") from None
    if "@" in parts.netloc:
        raise ValueError("contains a user or password; put them into access_key_id and secret_access_key")
    if parts.query or parts.fragment:
        raise ValueError("contains '?' or '#', which are not allowed in a folder")
    if parts.scheme not in SCHEMES:
        raise ValueError('is not a destination; write "s3://bucket/folder" or "file:///folder"')
    return SCHEMES[parts.scheme](parts)


def _in_bucket(parts: SplitResult) -> Location:
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f'has no bucket; write "{parts.scheme}://bucket/folder"')
    folder = parts.path.strip("/")
    if len(folder.encode()) > LONGEST_FOLDER:
        raise ValueError(f"is too long; a folder has at most {LONGEST_FOLDER} bytes")
    if folder and any(part in {"", ".", ".."} for part in folder.split("/")):
        raise ValueError("has an empty, '.' or '..' part in its folder; leave it out")
    return Location(parts.scheme, parts.netloc, folder)


def _local(parts: SplitResult) -> Location:
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.strip("/"):
        raise ValueError('is not an absolute path; write three slashes, e.g. "file:///var/lib/sink/out"')
    if ".." in path.split("/") or not path.isprintable():
        raise ValueError("has a '..' or a control character in its path; write the absolute path")
    return Location(parts.scheme, "", path.strip("/"))


SCHEMES: Mapping[str, Callable[[SplitResult], Location]] = {"s3": _in_bucket, "file": _local}
"""How the rest of the URL is read. `store/factory.py` has the store of each."""


def object_url(location: str, key: str) -> str:
    """One object as an operator may name it to other tools: a store's location without its endpoint, and the key."""
    place, _, _endpoint = location.partition("?")
    return f"{place}/{key}"
