"""From a url to a store."""

from pathlib import Path

import pytest

from consumer.domain.errors import UsageError
from consumer.domain.location import SCHEMES, location_of
from consumer.store.factory import STORES, open_store
from consumer.store.folder import FolderStore
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import LEAST_PART, MOST_AT_ONCE, MOST_PART, S3Options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://adapty-events", ("adapty-events", "")),
        ("s3://adapty-events/", ("adapty-events", "")),
        ("s3://adapty-ua-events/com.sample-app", ("adapty-ua-events", "com.sample-app")),
        ("s3://adapty-ua-events/com.sample-app/a/b/", ("adapty-ua-events", "com.sample-app/a/b")),
    ],
)
def test_bucket_and_nested_folder(url: str, expected: tuple[str, str]) -> None:
    location = location_of(url)
    assert (location.bucket, location.folder) == expected
    assert location.url == url.rstrip("/")


def test_an_s3_store() -> None:
    store = open_store("s3://adapty-events/com.sample-app/", S3Options(region="eu-central-1"))
    assert isinstance(store, S3Store)
    assert store.location == "s3://adapty-events/com.sample-app"
    assert store.keeps_metadata
    assert open_store("s3://adapty-events").location == "s3://adapty-events"


def test_the_endpoint_is_told_without_its_secrets() -> None:
    store = open_store("s3://bucket/folder", S3Options(endpoint_url="http://user:secret@127.0.0.1:9000/"))
    assert store.location == "s3://bucket/folder?endpoint=http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///var/lib/sink/out", "/var/lib/sink/out"),
        ("file://localhost/var/out/", "/var/out"),
        ("file:///var/my%20data", "/var/my data"),
    ],
)
def test_a_folder(url: str, path: str) -> None:
    assert location_of(url).directory == Path(path)
    store = open_store(url)
    assert isinstance(store, FolderStore)
    assert store.location == Path(path).as_uri()


def test_every_scheme_has_its_store() -> None:
    assert SCHEMES.keys() == STORES.keys()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "adapty-events",
        "gs://bucket/x",
        "s3://",
        "s3:///folder",
        "s3://b",
        "s3://buc ket/x",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "file://",
        "file:///",
        "file://host/path",
        "file://relative",
    ],
)
def test_other_urls_are_problems(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url)


@pytest.mark.parametrize(
    "problem",
    [
        {"access_key_id": "only"},
        {"secret_access_key": "only"},
        {"endpoint_url": "127.0.0.1:9000"},
        {"endpoint_url": "ftp://127.0.0.1"},
        {"endpoint_url": "http://"},
        {"part_size": LEAST_PART - 1},
        {"part_size": MOST_PART + 1},
        {"multipart_threshold": MOST_AT_ONCE + 1},
    ],
)
def test_options_that_cannot_be(problem: dict[str, str | int]) -> None:
    with pytest.raises(UsageError):
        S3Options(bucket="bucket", **problem)  # type: ignore[arg-type] # the case says which


def test_options_show_no_secret() -> None:
    keys = {"access_key_id": "key", "secret_access_key": "hidden"}
    assert keys["secret_access_key"] not in repr(S3Options(**keys))  # type: ignore[arg-type] # text options both
