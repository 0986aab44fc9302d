"""Manual export: whole UTC days as one CSV per stream, sealed ones from the bucket, open ones from Kafka."""
