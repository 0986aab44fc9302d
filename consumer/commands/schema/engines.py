"""The engines with statements. A new one is a module, a line here and a name in names.py."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.commands.schema import bigquery, clickhouse, duckdb, hive, postgres, redshift, snowflake, spark
from consumer.commands.schema.names import EngineName
from consumer.commands.schema.table import Dialect

ENGINES: Mapping[EngineName, Dialect] = {
    "duckdb": duckdb.ENGINE,
    "postgres": postgres.ENGINE,
    "clickhouse": clickhouse.ENGINE,
    "spark": spark.SPARK,
    "databricks": spark.DATABRICKS,
    "snowflake": snowflake.ENGINE,
    "redshift": redshift.ENGINE,
    "bigquery": bigquery.ENGINE,
    "athena": hive.ATHENA,
    "trino": hive.TRINO,
}
