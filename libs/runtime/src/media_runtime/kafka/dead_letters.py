"""Dead letters: records that a consumer could not take, with the reason in their headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import ConsumerRecord
from media_contracts import ContractError
from media_runtime.errors import PermanentError
from media_runtime.kafka.producer import OutgoingRecord

DLQ_REDRIVES = "dlq-redrives"
"""The header that counts how often a dead letter was sent again."""


def dead_letter_reason(error: Exception) -> str:
    """Return the reason class under which a failed record is filed."""
    if isinstance(error, ContractError):
        return "malformed"
    return "rejected" if isinstance(error, PermanentError) else "unexpected"


def dead_letter(
    record: ConsumerRecord[Any, Any], error: Exception, topic: str, attempts: int, service: str
) -> OutgoingRecord:
    """Return the dead letter of *record*: its own bytes, with the reason in headers."""
    about: Mapping[str, str] = {
        "dlq-reason": dead_letter_reason(error),
        "dlq-exception": type(error).__name__,
        "dlq-message": str(error)[:1000],
        "dlq-attempts": str(attempts),
        "dlq-topic": topic,
        "dlq-partition": str(record.partition),
        "dlq-offset": str(record.offset),
        "dlq-timestamp": str(record.timestamp),
        "dlq-service": service,
    }
    # How often it was sent again by hand stays with it.
    kept = [
        (name, value)
        for name, value in record.headers
        if name == DLQ_REDRIVES or not name.startswith("dlq-")
    ]
    # What an error quotes from the record may have no UTF-8 form.
    added = [(name, value.encode(errors="backslashreplace")) for name, value in about.items()]
    # aiokafka sends no record that has neither key nor value, and the partition would stand still.
    value = (record.value or b"") if record.key is None else record.value
    return OutgoingRecord(f"{topic}_dlq", record.key, value, [*kept, *added])
