"""Ours: `adapty-sink run --once`, from the command line, as anyone would start it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.task import Task
from consumer.shape.native.extension import EXACT, VARIABLE
from consumer.store.conditional_writes.probe import require_safe
from consumer.store.factory import open_store
from consumer.store.s3_clients import S3Options

SETTINGS = """\
[kafka]
bootstrap_servers = "{brokers}"
group_id = "{group}"

[destination]
url = "s3://{bucket}/{prefix}"
endpoint_url = "{endpoint_url}"
access_key_id = "{access_key}"
secret_access_key = "{secret_key}"
addressing_style = "path"

[spool]
directory = "{folder}/spool"
{spool}
[http]
listen = ""

[streams.events]
topic = "{topic}"
format = "{format}"
"""
REGISTRY = """
[schema_registry]
url = "{registry}"
"""


def settings(task: Task, *, spool: str = "", more: str = "") -> str:
    """The settings file's text. `spool` are further lines of its table [spool], `more` are further tables."""
    text = (SETTINGS + (REGISTRY if task.registry else "")).format(
        brokers=task.brokers,
        group=task.group,
        bucket=task.bucket,
        prefix=task.prefix,
        endpoint_url=task.endpoint_url,
        access_key=task.access_key,
        secret_key=task.secret_key,
        folder=task.folder,
        spool=spool,
        topic=task.topic,
        format=task.format,
        registry=task.registry,
    )
    return text + more


def command(task: Task, *, spool: str = "", more: str = "") -> list[str]:
    """The command line; writes the settings that it names, with `spool` and `more` as in `settings`."""
    path = task.home / "sink.toml"
    path.write_text(settings(task, spool=spool, more=more))
    program = str(Path(sys.executable).with_name("adapty-sink"))
    return [program, "--config", str(path), "--log-format", "json", "run", "--once", "--through", task.through]


def exact_command(task: Task) -> list[str]:
    """The same without the native engine."""
    return ["env", f"{VARIABLE}={EXACT}", *command(task)]


def read_seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    """By its log: from when the first partition was ready to read until the first one had caught up."""
    at = {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in reversed(lines)}
    return (at["seal_considered"] - at["partition_recovered"]).total_seconds()


def store_options(task: Task) -> S3Options:
    """How the task's bucket is reached."""
    return S3Options(
        endpoint_url=task.endpoint_url,
        access_key_id=task.access_key,
        secret_access_key=task.secret_key,
        addressing_style="path",
    )


def prove_store(task: Task) -> None:
    """Let the store show once that its conditional writes hold: a worker does so once a month, not at each start."""
    require_safe(open_store(f"s3://{task.bucket}/{task.prefix}", store_options(task)))
