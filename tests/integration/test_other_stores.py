"""What `check` says of other S3 servers, against docs/compatibility.md. By hand: OTHER_STORES=all, or names.

OTHER_STORES=moto,s3proxy .venv/bin/pytest -n0 -rP tests/integration/test_other_stores.py
"""

import os
import re
from pathlib import Path
from shutil import rmtree

import pytest

from consumer.commands.check.line import Outcome
from consumer.commands.check.store import store_lines
from consumer.domain.clock import SystemClock
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import S3Options
from tests.conftest import _or_missing
from tests.services.other_stores import STORES

PAGE = (Path(__file__).parents[2] / "docs/compatibility.md").read_text()
TABLE = dict(re.findall(r"^\| ([a-z0-9]+) [^|]*\| (passes|refused)", PAGE, re.MULTILINE))
WANTED = os.environ.get("OTHER_STORES", "")


def test_the_table_has_every_store() -> None:
    assert TABLE.keys() == {*STORES, "minio"}


@pytest.mark.skipif(not WANTED, reason="by hand: OTHER_STORES=all")
@pytest.mark.parametrize("name", STORES)
def test_what_check_says(name: str, tmp_path: Path) -> None:
    if WANTED != "all" and name not in WANTED.split(","):
        pytest.skip("not asked for")
    server = STORES[name](tmp_path / name)
    try:
        _or_missing(server.start)
        address = server.address
        server.make_bucket("bucket")
        options = S3Options(
            bucket="bucket",
            prefix="folder",
            region=address.region,
            endpoint_url=address.endpoint_url,
            access_key_id=address.access_key,
            secret_access_key=address.secret_key,
            addressing_style="path",
            checksums="auto",
        )
        lines = list(store_lines(S3Store(options), SystemClock()))
        for line in lines:
            print(f"{line.outcome:<8}{line.check}: {line.detail}")  # noqa: T201 - for the page
        sound = all(line.outcome is not Outcome.FAILED for line in lines)
        assert TABLE[name] == ("passes" if sound else "refused")
    finally:
        server.stop()
        rmtree(server.data, ignore_errors=True)
