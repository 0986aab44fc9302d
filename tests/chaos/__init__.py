"""The chaos campaign: a seeded schedule of kills and faults on real workers, a real Kafka and a real store."""
