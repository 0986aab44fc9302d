"""Kafka in memory."""
