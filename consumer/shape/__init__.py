"""Columns to the rows that count: day, filter, cells, CSV text."""
