"""Destinations as operators name them."""

from __future__ import annotations

import pytest

from consumer.domain.location import object_url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("s3://days/app", "s3://days/app/events/a.csv"),
        ("s3://days/app?endpoint=http://localhost:9000", "s3://days/app/events/a.csv"),
        ("file:///srv/days", "file:///srv/days/events/a.csv"),
    ],
)
def test_an_object_is_named_without_the_endpoint(location: str, url: str) -> None:
    assert object_url(location, "events/a.csv") == url
