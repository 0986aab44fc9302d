"""`python -m tests.services up` starts Kafka, MinIO and the registry until Ctrl-C; `fetch` only fills the cache."""

import argparse
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.services import fetch
from tests.services.errors import ServerError, Unavailable
from tests.services.kafka import Kafka
from tests.services.registry import Registry
from tests.services.s3 import REGION, MinIO

OUT = sys.stdout.write


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 done, 1 something is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start Kafka, MinIO and the registry")
    commands.add_parser("fetch", help="fill the cache").add_argument("only", nargs="*", help=", ".join(fetch.ALL))
    given = parser.parse_args(arguments)
    if unknown := set(getattr(given, "only", [])) - set(fetch.ALL):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    try:
        return up() if given.command == "up" else fetch_all(given.only or list(fetch.ALL))
    except ServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def fetch_all(names: list[str]) -> int:
    """Fill the cache, and say what cannot be had."""
    missing = 0
    for name in names:
        try:
            OUT(f"{name}: {fetch.ALL[name]()}\n")
        except Unavailable as error:
            missing = 1
            OUT(f"{name}: unavailable: {error}\n")
    return missing


def up() -> int:
    """Start what the worker needs, print it as shell lines, and wait for Ctrl-C or SIGTERM."""
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    OUT("# starting Kafka, MinIO and a schema registry\n")
    sys.stdout.flush()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adapty-sink-up-")))
        try:
            kafka = stack.enter_context(Kafka(folder / "kafka"))
            store = stack.enter_context(MinIO(folder / "minio"))
            registry = stack.enter_context(Registry(folder / "registry"))
        except Unavailable as error:
            sys.stderr.write(f"{error}\n")
            return 1
        for name, value in {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "S3_ENDPOINT_URL": store.endpoint_url,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "SCHEMA_REGISTRY_URL": registry.url,
        }.items():
            OUT(f"export {name}={value}\n")
        OUT("# up; Ctrl-C ends them\n")
        sys.stdout.flush()
        end.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
