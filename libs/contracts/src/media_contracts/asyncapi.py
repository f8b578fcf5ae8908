"""The AsyncAPI 3 document of the topics, generated from the contracts."""

from __future__ import annotations

from typing import Any

from media_contracts.schemas import event_schema, messages
from media_contracts.topics import TOPICS, Topic


def document() -> dict[str, Any]:
    """Return the document: a channel for each topic, and who sends and receives on it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Media pipeline events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in structured JSON; records are keyed by asset id.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            name: operation for topic in TOPICS for name, operation in _operations(topic)
        },
        "components": {
            "messages": {
                name: {
                    "name": name,
                    "contentType": "application/cloudevents+json",
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": event_schema(message),
                    },
                }
                for name, message in sorted(messages().items())
            }
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.description} Key: {topic.key}.",
        "messages": {
            message.event_type: {"$ref": f"#/components/messages/{message.event_type}"}
            for message in topic.messages
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"retention.ms": topic.retention_ms},
                "bindingVersion": "0.5.0",
            }
        },
        "x-dead-letter-topic": topic.dlq,
    }


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    sides = (("send", topic.producers), ("receive", topic.consumers))
    return [
        (
            f"{service.replace(' ', '_')}_{action}_{topic.name}",
            {
                "action": action,
                "channel": channel,
            },
        )
        for action, services in sides
        for service in services
    ]
