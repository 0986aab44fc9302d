"""Real servers on loopback for tests and benchmarks: fetched once into a cache folder, started without containers."""
