"""
The envelope of every message: CloudEvents 1.0 in structured JSON.

Invariant: a producer cannot put an unknown field on the wire, a consumer never trips over one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID, uuid4, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""An instant, written as RFC 3339 in UTC with milliseconds."""


class Data(BaseModel):
    """A part of a message's payload: immutable, camelCase on the wire."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


class Payload(Data):
    """The ``data`` of one kind of message. ``event_type`` names the kind and its major version."""

    event_type: ClassVar[str]


PayloadT = TypeVar("PayloadT", bound=Payload)
PayloadT_co = TypeVar("PayloadT_co", bound=Payload, covariant=True)


class CloudEvent(BaseModel, Generic[PayloadT_co]):
    """
    One message on a topic (CloudEvents 1.0, JSON format, structured mode).

    ``id`` is the same each time one event is delivered, so consumers may use it to
    recognise a repetition. ``subject`` is the asset. ``companyid`` and ``traceparent``
    (W3C Trace Context) are extension attributes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: str = Field(min_length=1, examples=["/media/ingest"])
    type: str = Field(min_length=1)
    subject: UUID
    time: Timestamp
    datacontenttype: Literal["application/json"] = "application/json"
    companyid: UUID
    traceparent: str | None = None
    data: PayloadT_co

    def to_bytes(self) -> bytes:
        """Return the record's value: compact JSON in UTF-8, absent attributes left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


@cache
def _envelope_of(payload: type[PayloadT]) -> type[CloudEvent[PayloadT]]:
    # Pydantic keeps such classes by weak reference, and building one takes as long as using it.
    return CloudEvent[payload]  # type: ignore[valid-type]


def new_event(
    data: PayloadT,
    *,
    source: str,
    asset_id: UUID,
    company_id: UUID,
    time: datetime,
    event_id: UUID | None = None,
    traceparent: str | None = None,
) -> CloudEvent[PayloadT]:
    """Return *data* in its envelope; give *event_id* where a repetition must be recognised."""
    return _envelope_of(type(data))(
        id=event_id or uuid4(),
        source=source,
        type=data.event_type,
        subject=asset_id,
        time=time,
        companyid=company_id,
        traceparent=traceparent,
        data=data,
    )


def derived_id(cause: UUID, name: str) -> UUID:
    """Return the id of the event that *cause* gives rise to: the same at each repetition."""
    return uuid5(cause, name)


class ContractError(ValueError):
    """A message is not what its topic carries; no repetition will change that."""


class MalformedEventError(ContractError):
    """The bytes are not a CloudEvent of the declared type."""


def parse_event(value: bytes | None, known: dict[str, type[Payload]]) -> CloudEvent[Any] | None:
    """
    Return the event in *value*; fields that this version does not know are dropped.

    None is an event of a type, or of a major version, that this version does not know.
    Raises MalformedEventError.
    """
    try:
        head = _Head.model_validate_json(value or b"")
    except ValueError as error:
        raise MalformedEventError(f"not a CloudEvent: {error}") from error
    payload = known.get(head.type)
    try:
        event = _envelope_of(payload or Payload).model_validate_json(value or b"", extra="ignore")
    except ValueError as error:
        raise MalformedEventError(f"not a valid {head.type}: {error}") from error
    return event if payload else None


class _Head(BaseModel):
    """Just enough of an event to choose its model."""

    specversion: Literal["1.0"]
    type: str
