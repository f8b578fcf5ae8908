"""Kafka: producing, consuming, dead letters, topics and users."""
