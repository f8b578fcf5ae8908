from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast
from uuid import UUID

if TYPE_CHECKING:
    from ..models.upload import Upload


T = TypeVar("T", bound="BatchUpload")


@_attrs_define
class BatchUpload:
    """One upload of a batch. Where ``upload`` is null it goes in parts, or is not awaited any more.

    One that goes in parts has their number and ``partSize``; their URLs are those of ``/uploads``.

        Attributes:
            number (int): Its place in the batch's request, from 0.
            asset_id (UUID):
            file_name (str):
            size (int):
            type_ (str):
            expires_at (str):
            fingerprint (None | str | Unset):
            upload (None | Unset | Upload):
            part_size (int | None | Unset):
            parts (int | None | Unset):
    """

    number: int
    asset_id: UUID
    file_name: str
    size: int
    type_: str
    expires_at: str
    fingerprint: None | str | Unset = UNSET
    upload: None | Unset | Upload = UNSET
    part_size: int | None | Unset = UNSET
    parts: int | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.upload import Upload  # noqa: PLC0415

        number = self.number

        asset_id = str(self.asset_id)

        file_name = self.file_name

        size = self.size

        type_ = self.type_

        expires_at = self.expires_at

        fingerprint: None | str | Unset
        if isinstance(self.fingerprint, Unset):
            fingerprint = UNSET
        else:
            fingerprint = self.fingerprint

        upload: dict[str, Any] | None | Unset
        if isinstance(self.upload, Unset):
            upload = UNSET
        elif isinstance(self.upload, Upload):
            upload = self.upload.to_dict()
        else:
            upload = self.upload

        part_size: int | None | Unset
        if isinstance(self.part_size, Unset):
            part_size = UNSET
        else:
            part_size = self.part_size

        parts: int | None | Unset
        if isinstance(self.parts, Unset):
            parts = UNSET
        else:
            parts = self.parts

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "number": number,
                "assetId": asset_id,
                "fileName": file_name,
                "size": size,
                "type": type_,
                "expiresAt": expires_at,
            }
        )
        if fingerprint is not UNSET:
            field_dict["fingerprint"] = fingerprint
        if upload is not UNSET:
            field_dict["upload"] = upload
        if part_size is not UNSET:
            field_dict["partSize"] = part_size
        if parts is not UNSET:
            field_dict["parts"] = parts

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.upload import Upload  # noqa: PLC0415

        d = dict(src_dict)
        number = d.pop("number")

        asset_id = UUID(d.pop("assetId"))

        file_name = d.pop("fileName")

        size = d.pop("size")

        type_ = d.pop("type")

        expires_at = d.pop("expiresAt")

        def _parse_fingerprint(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        fingerprint = _parse_fingerprint(d.pop("fingerprint", UNSET))

        def _parse_upload(data: object) -> None | Unset | Upload:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                upload_type_0 = Upload.from_dict(data)

                return upload_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Unset | Upload, data)

        upload = _parse_upload(d.pop("upload", UNSET))

        def _parse_part_size(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        part_size = _parse_part_size(d.pop("partSize", UNSET))

        def _parse_parts(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        parts = _parse_parts(d.pop("parts", UNSET))

        batch_upload = cls(
            number=number,
            asset_id=asset_id,
            file_name=file_name,
            size=size,
            type_=type_,
            expires_at=expires_at,
            fingerprint=fingerprint,
            upload=upload,
            part_size=part_size,
            parts=parts,
        )

        batch_upload.additional_properties = d
        return batch_upload

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
