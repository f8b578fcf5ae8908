from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
    from ..models.text_view import TextView


T = TypeVar("T", bound="FileView")


@_attrs_define
class FileView:
    """One file that was made of the upload, under its name in the profile.

    Attributes:
        name (str):
        kind (str):
        url (str):
        content_type (str):
        size (int):
        sha256 (None | str | Unset):
        width (int | None | Unset):
        height (int | None | Unset):
        duration_seconds (float | None | Unset):
        text (None | TextView | Unset):
        loops (int | None | Unset): How often an animation is to be shown; 0 is without end.
    """

    name: str
    kind: str
    url: str
    content_type: str
    size: int
    sha256: None | str | Unset = UNSET
    width: int | None | Unset = UNSET
    height: int | None | Unset = UNSET
    duration_seconds: float | None | Unset = UNSET
    text: None | TextView | Unset = UNSET
    loops: int | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.text_view import TextView  # noqa: PLC0415

        name = self.name

        kind = self.kind

        url = self.url

        content_type = self.content_type

        size = self.size

        sha256: None | str | Unset
        if isinstance(self.sha256, Unset):
            sha256 = UNSET
        else:
            sha256 = self.sha256

        width: int | None | Unset
        if isinstance(self.width, Unset):
            width = UNSET
        else:
            width = self.width

        height: int | None | Unset
        if isinstance(self.height, Unset):
            height = UNSET
        else:
            height = self.height

        duration_seconds: float | None | Unset
        if isinstance(self.duration_seconds, Unset):
            duration_seconds = UNSET
        else:
            duration_seconds = self.duration_seconds

        text: dict[str, Any] | None | Unset
        if isinstance(self.text, Unset):
            text = UNSET
        elif isinstance(self.text, TextView):
            text = self.text.to_dict()
        else:
            text = self.text

        loops: int | None | Unset
        if isinstance(self.loops, Unset):
            loops = UNSET
        else:
            loops = self.loops

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "kind": kind,
                "url": url,
                "contentType": content_type,
                "size": size,
            }
        )
        if sha256 is not UNSET:
            field_dict["sha256"] = sha256
        if width is not UNSET:
            field_dict["width"] = width
        if height is not UNSET:
            field_dict["height"] = height
        if duration_seconds is not UNSET:
            field_dict["durationSeconds"] = duration_seconds
        if text is not UNSET:
            field_dict["text"] = text
        if loops is not UNSET:
            field_dict["loops"] = loops

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.text_view import TextView  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        kind = d.pop("kind")

        url = d.pop("url")

        content_type = d.pop("contentType")

        size = d.pop("size")

        def _parse_sha256(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sha256 = _parse_sha256(d.pop("sha256", UNSET))

        def _parse_width(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        width = _parse_width(d.pop("width", UNSET))

        def _parse_height(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        height = _parse_height(d.pop("height", UNSET))

        def _parse_duration_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        duration_seconds = _parse_duration_seconds(d.pop("durationSeconds", UNSET))

        def _parse_text(data: object) -> None | TextView | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                text_type_0 = TextView.from_dict(data)

                return text_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | TextView | Unset, data)

        text = _parse_text(d.pop("text", UNSET))

        def _parse_loops(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        loops = _parse_loops(d.pop("loops", UNSET))

        file_view = cls(
            name=name,
            kind=kind,
            url=url,
            content_type=content_type,
            size=size,
            sha256=sha256,
            width=width,
            height=height,
            duration_seconds=duration_seconds,
            text=text,
            loops=loops,
        )

        file_view.additional_properties = d
        return file_view

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
