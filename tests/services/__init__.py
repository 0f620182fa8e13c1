"""Real servers on loopback for tests and benchmarks: Kafka, ClickHouse and MinIO."""
