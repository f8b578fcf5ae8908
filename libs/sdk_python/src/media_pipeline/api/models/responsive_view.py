from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast

if TYPE_CHECKING:
    from ..models.source_view import SourceView


T = TypeVar("T", bound="ResponsiveView")


@_attrs_define
class ResponsiveView:
    """A picture in several sizes and formats, as HTML wants it.

    ``sources`` go into a ``picture`` in this order; its ``img`` has ``src``, ``srcset``, and the
    ``width`` and ``height`` (pixels), which keep its place on the page. Say ``sizes`` yourself.

        Attributes:
            name (str):
            sources (list[SourceView]):
            src (str):
            srcset (str):
            width (int):
            height (int):
    """

    name: str
    sources: list[SourceView]
    src: str
    srcset: str
    width: int
    height: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.source_view import SourceView  # noqa: PLC0415

        name = self.name

        sources = []
        for sources_item_data in self.sources:
            sources_item = sources_item_data.to_dict()
            sources.append(sources_item)

        src = self.src

        srcset = self.srcset

        width = self.width

        height = self.height

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "sources": sources,
                "src": src,
                "srcset": srcset,
                "width": width,
                "height": height,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.source_view import SourceView  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        sources = []
        _sources = d.pop("sources")
        for sources_item_data in _sources:
            sources_item = SourceView.from_dict(sources_item_data)

            sources.append(sources_item)

        src = d.pop("src")

        srcset = d.pop("srcset")

        width = d.pop("width")

        height = d.pop("height")

        responsive_view = cls(
            name=name,
            sources=sources,
            src=src,
            srcset=srcset,
            width=width,
            height=height,
        )

        responsive_view.additional_properties = d
        return responsive_view

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
