"""Kafka at the edge: the source, its fetches, commits, starts and ends, and librdkafka itself."""
