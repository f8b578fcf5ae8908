from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast
from uuid import UUID


T = TypeVar("T", bound="EndpointView")


@_attrs_define
class EndpointView:
    """An endpoint.

    ``failingSince`` is the first failure after the last event that it took; after 5 days it is
    disabled, which the event ``media.webhook.disabled.v1`` tells. Until ``oldSecretUntil`` two
    secrets sign.

        Attributes:
            id (UUID):
            url (str):
            types (list[str]):
            enabled (bool):
            failing_since (None | str):
            disabled_at (None | str):
            old_secret_until (None | str):
            created_at (str):
    """

    id: UUID
    url: str
    types: list[str]
    enabled: bool
    failing_since: None | str
    disabled_at: None | str
    old_secret_until: None | str
    created_at: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = str(self.id)

        url = self.url

        types = self.types

        enabled = self.enabled

        failing_since: None | str
        failing_since = self.failing_since

        disabled_at: None | str
        disabled_at = self.disabled_at

        old_secret_until: None | str
        old_secret_until = self.old_secret_until

        created_at = self.created_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "url": url,
                "types": types,
                "enabled": enabled,
                "failingSince": failing_since,
                "disabledAt": disabled_at,
                "oldSecretUntil": old_secret_until,
                "createdAt": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = UUID(d.pop("id"))

        url = d.pop("url")

        types = cast(list[str], d.pop("types"))

        enabled = d.pop("enabled")

        def _parse_failing_since(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        failing_since = _parse_failing_since(d.pop("failingSince"))

        def _parse_disabled_at(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        disabled_at = _parse_disabled_at(d.pop("disabledAt"))

        def _parse_old_secret_until(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        old_secret_until = _parse_old_secret_until(d.pop("oldSecretUntil"))

        created_at = d.pop("createdAt")

        endpoint_view = cls(
            id=id,
            url=url,
            types=types,
            enabled=enabled,
            failing_since=failing_since,
            disabled_at=disabled_at,
            old_secret_until=old_secret_until,
            created_at=created_at,
        )

        endpoint_view.additional_properties = d
        return endpoint_view

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
