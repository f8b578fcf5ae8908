from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast


T = TypeVar("T", bound="TextView")


@_attrs_define
class TextView:
    """What a text of a video is. ``language`` is a tag of BCP 47, ``und`` where it is unknown.

    A text that is ``forced`` is for all who watch; a ``default`` one is shown unless they choose.

        Attributes:
            language (str):
            title (None | str | Unset):
            forced (bool | Unset):  Default: False.
            default (bool | Unset):  Default: False.
            hearing_impaired (bool | Unset):  Default: False.
    """

    language: str
    title: None | str | Unset = UNSET
    forced: bool | Unset = False
    default: bool | Unset = False
    hearing_impaired: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        language = self.language

        title: None | str | Unset
        if isinstance(self.title, Unset):
            title = UNSET
        else:
            title = self.title

        forced = self.forced

        default = self.default

        hearing_impaired = self.hearing_impaired

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "language": language,
            }
        )
        if title is not UNSET:
            field_dict["title"] = title
        if forced is not UNSET:
            field_dict["forced"] = forced
        if default is not UNSET:
            field_dict["default"] = default
        if hearing_impaired is not UNSET:
            field_dict["hearingImpaired"] = hearing_impaired

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        language = d.pop("language")

        def _parse_title(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        title = _parse_title(d.pop("title", UNSET))

        forced = d.pop("forced", UNSET)

        default = d.pop("default", UNSET)

        hearing_impaired = d.pop("hearingImpaired", UNSET)

        text_view = cls(
            language=language,
            title=title,
            forced=forced,
            default=default,
            hearing_impaired=hearing_impaired,
        )

        text_view.additional_properties = d
        return text_view

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
