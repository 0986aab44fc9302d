"""What a contender left in the bucket, read again and counted by polars."""

from __future__ import annotations

import io
from dataclasses import dataclass

import polars as pl

from benchmarks.task import Task

ID = "transaction_id"
"""The column that is different in each record."""


@dataclass(frozen=True, slots=True)
class Contents:
    """CSV files, rows, different rows, bytes."""

    files: int
    rows: int
    distinct: int
    size: int


def contents(task: Task) -> Contents:
    """Read every CSV file of the task's folder in the bucket."""
    client = task.client()
    files = size = rows = 0
    seen: list[pl.Series] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=task.bucket, Prefix=f"{task.prefix}/"):
        for item in page.get("Contents", []):
            if not item["Key"].endswith(".csv"):
                continue
            data = client.get_object(Bucket=task.bucket, Key=item["Key"])["Body"].read()
            found = pl.read_csv(io.BytesIO(data), columns=[ID], infer_schema=False).get_column(ID)
            seen.append(found.unique())
            files, size, rows = files + 1, size + len(data), rows + len(found)
    return Contents(files, rows, pl.concat(seen).n_unique() if seen else 0, size)
