"""`python -m tests.builders.engine_process clickhouse|spark|hive`: JSON of statements in, the rows of each SELECT out.

A process of its own: both engines bring threads, signal handlers and a memory allocator.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Rows = list[list[Any]]
NOTHING: Mapping[str, str] = {}


def clickhouse(home: Path) -> Callable[[str], Rows]:
    """ClickHouse in this process, by chdb."""
    from chdb.session import Session  # noqa: PLC0415 - where it is installed

    session = Session(str(home))
    return lambda sql: [json.loads(line) for line in str(session.query(sql, "JSONCompactEachRow")).splitlines()]


def spark(home: Path, more: Mapping[str, str] = NOTHING) -> Callable[[str], Rows]:
    """Spark on this machine."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - where it is installed

    told = {
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        **more,
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in told.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    return lambda sql: [list(row) for row in session.sql(sql).collect()]


def hive(home: Path) -> Callable[[str], Rows]:
    """Spark with Hive's readers, and a metastore in memory."""
    return spark(
        home,
        {
            "spark.sql.catalogImplementation": "hive",
            "spark.driver.extraJavaOptions": f"-Dderby.system.home={home}",
            "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
            "spark.hadoop.hive.metastore.schema.verification": "false",
            "spark.hadoop.datanucleus.schema.autoCreateAll": "true",
        },
    )


def main() -> None:
    """Run them in turn."""
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        ask = {"clickhouse": clickhouse, "spark": spark, "hive": hive}[sys.argv[1]](Path(name))
        asked = [(sql, ask(sql)) for sql in json.load(sys.stdin)]
        print(json.dumps([rows for sql, rows in asked if sql.lstrip().startswith("SELECT")]))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
