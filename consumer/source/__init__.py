"""Reading from Kafka: the only thread that owns the consumer, leases, positions."""
