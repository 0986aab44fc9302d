"""Put-if-absent over S3 and over a folder."""
