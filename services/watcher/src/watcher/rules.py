"""The rules of the clean-up: a closed set, which its metrics and its plan are named after."""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """Why something is removed."""

    RETENTION = "retention"
    DELETIONS = "deletions"
    LEFTOVERS = "leftovers"
    QUARANTINE = "quarantine"
    VERSIONS = "versions"
    GRANTS = "grants"
    KEYS = "keys"
    TICKETS = "tickets"
    DELIVERIES = "deliveries"
    BATCHES = "batches"
    MULTIPART = "multipart"


TEXTS = {
    Rule.RETENTION: "assets older than their company keeps them",
    Rule.DELETIONS: "files of assets that somebody deleted or cancelled",
    Rule.LEFTOVERS: "files of dead attempts and of retired assets, originals out of place",
    Rule.QUARANTINE: "originals whose time in quarantine is over",
    Rule.VERSIONS: "originals whose grant has lapsed, looked through for further versions",
    Rule.GRANTS: "rows of grants that nobody used",
    Rule.KEYS: "idempotency keys that have lapsed",
    Rule.TICKETS: "tickets of event streams that have lapsed",
    Rule.DELIVERIES: "deliveries to webhooks of more than 30 days ago",
    Rule.BATCHES: "batches of whose assets none is left, decided more than 30 days ago",
    Rule.MULTIPART: "parts of uploads that nobody completed",
}
"""What each rule removes, for people."""
