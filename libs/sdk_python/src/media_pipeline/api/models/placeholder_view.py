from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset


T = TypeVar("T", bound="PlaceholderView")


@_attrs_define
class PlaceholderView:
    """What a page shows until a picture is there.

    ``thumbhash`` is its ThumbHash in Base64, ``colour`` the mean of its pixels.

        Attributes:
            thumbhash (str):
            colour (str):
    """

    thumbhash: str
    colour: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        thumbhash = self.thumbhash

        colour = self.colour

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "thumbhash": thumbhash,
                "colour": colour,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        thumbhash = d.pop("thumbhash")

        colour = d.pop("colour")

        placeholder_view = cls(
            thumbhash=thumbhash,
            colour=colour,
        )

        placeholder_view.additional_properties = d
        return placeholder_view

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
