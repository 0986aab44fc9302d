"""Kafka in: the one thread that owns the consumer, leases, positions."""
