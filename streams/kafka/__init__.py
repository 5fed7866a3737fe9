"""Kafka: connections, topics, reading and writing them, consumer groups."""
