from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast


T = TypeVar("T", bound="TrackView")


@_attrs_define
class TrackView:
    """One size of a stream's pictures in one codec, or its sound, which has no width and height.

    ``codec`` is as RFC 6381 writes it, ``ssim`` is how near its pictures are to what was encoded,
    ``vmaf`` how good they look beside the source, where the profile asks for it.

        Attributes:
            name (str):
            codec (str):
            size (int):
            bits_per_second (int):
            duration_seconds (float):
            width (int | None | Unset):
            height (int | None | Unset):
            ssim (float | None | Unset):
            vmaf (float | None | Unset):
    """

    name: str
    codec: str
    size: int
    bits_per_second: int
    duration_seconds: float
    width: int | None | Unset = UNSET
    height: int | None | Unset = UNSET
    ssim: float | None | Unset = UNSET
    vmaf: float | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        codec = self.codec

        size = self.size

        bits_per_second = self.bits_per_second

        duration_seconds = self.duration_seconds

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

        ssim: float | None | Unset
        if isinstance(self.ssim, Unset):
            ssim = UNSET
        else:
            ssim = self.ssim

        vmaf: float | None | Unset
        if isinstance(self.vmaf, Unset):
            vmaf = UNSET
        else:
            vmaf = self.vmaf

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "codec": codec,
                "size": size,
                "bitsPerSecond": bits_per_second,
                "durationSeconds": duration_seconds,
            }
        )
        if width is not UNSET:
            field_dict["width"] = width
        if height is not UNSET:
            field_dict["height"] = height
        if ssim is not UNSET:
            field_dict["ssim"] = ssim
        if vmaf is not UNSET:
            field_dict["vmaf"] = vmaf

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        codec = d.pop("codec")

        size = d.pop("size")

        bits_per_second = d.pop("bitsPerSecond")

        duration_seconds = d.pop("durationSeconds")

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

        def _parse_ssim(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        ssim = _parse_ssim(d.pop("ssim", UNSET))

        def _parse_vmaf(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        vmaf = _parse_vmaf(d.pop("vmaf", UNSET))

        track_view = cls(
            name=name,
            codec=codec,
            size=size,
            bits_per_second=bits_per_second,
            duration_seconds=duration_seconds,
            width=width,
            height=height,
            ssim=ssim,
            vmaf=vmaf,
        )

        track_view.additional_properties = d
        return track_view

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
