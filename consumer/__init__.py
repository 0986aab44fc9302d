"""adapty-sink: Adapty's event streams from Kafka to daily CSV objects, each row exactly once."""

__version__ = "0.1.0"
