"""Bytes to columns: bare Avro, Avro by registry, JSON; `exact` is the oracle."""
