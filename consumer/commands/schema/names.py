"""The names that `schema` accepts. Without imports, as the command line is made from it."""

from __future__ import annotations

from typing import Literal

EngineName = Literal[
    "duckdb", "postgres", "clickhouse", "spark", "databricks", "snowflake", "redshift", "bigquery", "athena", "trino"
]
Other = Literal["registry", "bucket"]
"""What the settings' columns are held against."""
