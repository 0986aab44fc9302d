"""Bytes to values: bare Avro, Avro with a registry, JSON; record by record and exact."""
