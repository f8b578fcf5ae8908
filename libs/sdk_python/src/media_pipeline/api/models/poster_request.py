from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast


T = TypeVar("T", bound="PosterRequest")


@_attrs_define
class PosterRequest:
    """The moment of a video that its pictures shall show; null chooses one that shows something.

    Attributes:
        at_seconds (float | None): On the clock that the video is played by. After its end the last picture counts.
    """

    at_seconds: float | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        at_seconds: float | None
        at_seconds = self.at_seconds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "atSeconds": at_seconds,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_at_seconds(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        at_seconds = _parse_at_seconds(d.pop("atSeconds"))

        poster_request = cls(
            at_seconds=at_seconds,
        )

        poster_request.additional_properties = d
        return poster_request

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
