"""Metrics, HTTP, logs and the status page."""
