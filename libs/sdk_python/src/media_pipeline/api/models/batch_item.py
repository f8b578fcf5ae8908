from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.crop import Crop
from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
    from ..models.batch_item_metadata_type_0 import BatchItemMetadataType0
    from ..models.focus_view import FocusView


T = TypeVar("T", bound="BatchItem")


@_attrs_define
class BatchItem:
    """One file of a batch. It is sent in one request, or in parts, where ``inParts`` is true.

    The ``fingerprint`` is of use for one in parts.

        Attributes:
            file_name (str):
            size (int):
            type_ (str): One of audio/aac, audio/aiff, audio/flac, audio/mp4, audio/mpeg, audio/ogg, audio/wav, audio/webm,
                image/avif, image/gif, image/heic, image/heif, image/jpeg, image/png, image/tiff, image/webp, video/3gpp,
                video/mp4, video/mpeg, video/quicktime, video/webm, video/x-matroska, video/x-msvideo; case, parameters and
                usual aliases do not matter.
            profile (None | str | Unset): The name of a profile of the company, in its newest version; null for its default.
            title (None | str | Unset): What people are to call it.
            alt (None | str | Unset): What it shows, for those who do not see it.
            focus (FocusView | None | Unset): What crops keep in their middle; null leaves it to crop.
            crop (Crop | None | Unset): What crops keep in their middle where focus is null: the middle, or what people look
                at first; null is the profile's own.
            metadata (BatchItemMetadataType0 | None | Unset): Words of the client's own, by which it is found.
            fingerprint (None | str | Unset): 1 to 255 printable characters of ASCII.
            in_parts (bool | Unset):  Default: False.
    """

    file_name: str
    size: int
    type_: str
    profile: None | str | Unset = UNSET
    title: None | str | Unset = UNSET
    alt: None | str | Unset = UNSET
    focus: FocusView | None | Unset = UNSET
    crop: Crop | None | Unset = UNSET
    metadata: BatchItemMetadataType0 | None | Unset = UNSET
    fingerprint: None | str | Unset = UNSET
    in_parts: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.batch_item_metadata_type_0 import BatchItemMetadataType0  # noqa: PLC0415
        from ..models.focus_view import FocusView  # noqa: PLC0415

        file_name = self.file_name

        size = self.size

        type_ = self.type_

        profile: None | str | Unset
        if isinstance(self.profile, Unset):
            profile = UNSET
        else:
            profile = self.profile

        title: None | str | Unset
        if isinstance(self.title, Unset):
            title = UNSET
        else:
            title = self.title

        alt: None | str | Unset
        if isinstance(self.alt, Unset):
            alt = UNSET
        else:
            alt = self.alt

        focus: dict[str, Any] | None | Unset
        if isinstance(self.focus, Unset):
            focus = UNSET
        elif isinstance(self.focus, FocusView):
            focus = self.focus.to_dict()
        else:
            focus = self.focus

        crop: None | str | Unset
        if isinstance(self.crop, Unset):
            crop = UNSET
        elif isinstance(self.crop, Crop):
            crop = self.crop.value
        else:
            crop = self.crop

        metadata: dict[str, Any] | None | Unset
        if isinstance(self.metadata, Unset):
            metadata = UNSET
        elif isinstance(self.metadata, BatchItemMetadataType0):
            metadata = self.metadata.to_dict()
        else:
            metadata = self.metadata

        fingerprint: None | str | Unset
        if isinstance(self.fingerprint, Unset):
            fingerprint = UNSET
        else:
            fingerprint = self.fingerprint

        in_parts = self.in_parts

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fileName": file_name,
                "size": size,
                "type": type_,
            }
        )
        if profile is not UNSET:
            field_dict["profile"] = profile
        if title is not UNSET:
            field_dict["title"] = title
        if alt is not UNSET:
            field_dict["alt"] = alt
        if focus is not UNSET:
            field_dict["focus"] = focus
        if crop is not UNSET:
            field_dict["crop"] = crop
        if metadata is not UNSET:
            field_dict["metadata"] = metadata
        if fingerprint is not UNSET:
            field_dict["fingerprint"] = fingerprint
        if in_parts is not UNSET:
            field_dict["inParts"] = in_parts

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.batch_item_metadata_type_0 import BatchItemMetadataType0  # noqa: PLC0415
        from ..models.focus_view import FocusView  # noqa: PLC0415

        d = dict(src_dict)
        file_name = d.pop("fileName")

        size = d.pop("size")

        type_ = d.pop("type")

        def _parse_profile(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        profile = _parse_profile(d.pop("profile", UNSET))

        def _parse_title(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        title = _parse_title(d.pop("title", UNSET))

        def _parse_alt(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        alt = _parse_alt(d.pop("alt", UNSET))

        def _parse_focus(data: object) -> FocusView | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                focus_type_0 = FocusView.from_dict(data)

                return focus_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(FocusView | None | Unset, data)

        focus = _parse_focus(d.pop("focus", UNSET))

        def _parse_crop(data: object) -> Crop | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                crop_type_0 = Crop(data)

                return crop_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Crop | None | Unset, data)

        crop = _parse_crop(d.pop("crop", UNSET))

        def _parse_metadata(data: object) -> BatchItemMetadataType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                metadata_type_0 = BatchItemMetadataType0.from_dict(data)

                return metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(BatchItemMetadataType0 | None | Unset, data)

        metadata = _parse_metadata(d.pop("metadata", UNSET))

        def _parse_fingerprint(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        fingerprint = _parse_fingerprint(d.pop("fingerprint", UNSET))

        in_parts = d.pop("inParts", UNSET)

        batch_item = cls(
            file_name=file_name,
            size=size,
            type_=type_,
            profile=profile,
            title=title,
            alt=alt,
            focus=focus,
            crop=crop,
            metadata=metadata,
            fingerprint=fingerprint,
            in_parts=in_parts,
        )

        batch_item.additional_properties = d
        return batch_item

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
