from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.delivery_state import DeliveryState
from typing import cast
from uuid import UUID


T = TypeVar("T", bound="DeliveryView")


@_attrs_define
class DeliveryView:
    """One event for the endpoint. ``answer`` is the last try's status, or why there was none.

    Attributes:
        id (int):
        event_id (UUID):
        type_ (str):
        state (DeliveryState): Whether an event is still to be sent, was taken, or was given up after all its tries.
        tries (int):
        answer (None | str):
        created_at (str):
        tried_at (None | str):
        next_try_at (None | str):
    """

    id: int
    event_id: UUID
    type_: str
    state: DeliveryState
    tries: int
    answer: None | str
    created_at: str
    tried_at: None | str
    next_try_at: None | str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        event_id = str(self.event_id)

        type_ = self.type_

        state = self.state.value

        tries = self.tries

        answer: None | str
        answer = self.answer

        created_at = self.created_at

        tried_at: None | str
        tried_at = self.tried_at

        next_try_at: None | str
        next_try_at = self.next_try_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "eventId": event_id,
                "type": type_,
                "state": state,
                "tries": tries,
                "answer": answer,
                "createdAt": created_at,
                "triedAt": tried_at,
                "nextTryAt": next_try_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        event_id = UUID(d.pop("eventId"))

        type_ = d.pop("type")

        state = DeliveryState(d.pop("state"))

        tries = d.pop("tries")

        def _parse_answer(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        answer = _parse_answer(d.pop("answer"))

        created_at = d.pop("createdAt")

        def _parse_tried_at(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        tried_at = _parse_tried_at(d.pop("triedAt"))

        def _parse_next_try_at(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_try_at = _parse_next_try_at(d.pop("nextTryAt"))

        delivery_view = cls(
            id=id,
            event_id=event_id,
            type_=type_,
            state=state,
            tries=tries,
            answer=answer,
            created_at=created_at,
            tried_at=tried_at,
            next_try_at=next_try_at,
        )

        delivery_view.additional_properties = d
        return delivery_view

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
