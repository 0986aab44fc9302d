"""From a destination's url to its store."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from consumer.domain.errors import UsageError
from consumer.store.folder import FolderStore
from consumer.store.port import StreamingStore
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import S3Options

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def open_store(url: str, options: S3Options | None = None) -> StreamingStore:
    """The store at `s3://bucket/nested/folder` or `file:///path`. Nothing is asked of it yet.

    `options` matter for S3 only; bucket and prefix come from the url. Raises UsageError for any other url.
    """
    if url.startswith("s3://"):
        bucket, prefix = split_s3(url)
        return S3Store(replace(options or S3Options(), bucket=bucket, prefix=prefix))
    if url.startswith("file://"):
        return FolderStore(folder_of(url))
    raise UsageError(f"destination url must begin with s3:// or file://, not {url!r}")


def split_s3(url: str) -> tuple[str, str]:
    """Bucket and folder: cut at the first slash, so that folders may be nested."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not BUCKET.fullmatch(bucket):
        raise UsageError(f"destination url must look like s3://bucket/folder, not {url!r}")
    prefix = prefix.strip("/")
    if prefix and {"", ".", ".."} & set(prefix.split("/")):
        raise UsageError(f"the folder in {url!r} has an empty, '.' or '..' part")
    return bucket, prefix


def folder_of(url: str) -> Path:
    """The absolute path of a file url."""
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in {"", "localhost"} or not slash or not path.strip("/"):
        raise UsageError(f"destination url must look like file:///absolute/path, not {url!r}")
    return Path("/" + unquote(path))
