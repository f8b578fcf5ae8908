from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.upload_status import UploadStatus
from typing import cast
from uuid import UUID


T = TypeVar("T", bound="OpenUpload")


@_attrs_define
class OpenUpload:
    """An upload in parts, which can go on until ``expiresAt``.

    Part ``n`` of ``parts`` has the file's bytes from ``(n - 1) * partSize`` on: ``partSize`` of
    them, and the last one what is left.

        Attributes:
            asset_id (UUID):
            file_name (str):
            size (int):
            type_ (str):
            fingerprint (None | str):
            part_size (int):
            parts (int):
            status (UploadStatus): Whether parts are awaited. What becomes of a complete upload, its asset tells.
            expires_at (str):
    """

    asset_id: UUID
    file_name: str
    size: int
    type_: str
    fingerprint: None | str
    part_size: int
    parts: int
    status: UploadStatus
    expires_at: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        asset_id = str(self.asset_id)

        file_name = self.file_name

        size = self.size

        type_ = self.type_

        fingerprint: None | str
        fingerprint = self.fingerprint

        part_size = self.part_size

        parts = self.parts

        status = self.status.value

        expires_at = self.expires_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "assetId": asset_id,
                "fileName": file_name,
                "size": size,
                "type": type_,
                "fingerprint": fingerprint,
                "partSize": part_size,
                "parts": parts,
                "status": status,
                "expiresAt": expires_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        asset_id = UUID(d.pop("assetId"))

        file_name = d.pop("fileName")

        size = d.pop("size")

        type_ = d.pop("type")

        def _parse_fingerprint(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        fingerprint = _parse_fingerprint(d.pop("fingerprint"))

        part_size = d.pop("partSize")

        parts = d.pop("parts")

        status = UploadStatus(d.pop("status"))

        expires_at = d.pop("expiresAt")

        open_upload = cls(
            asset_id=asset_id,
            file_name=file_name,
            size=size,
            type_=type_,
            fingerprint=fingerprint,
            part_size=part_size,
            parts=parts,
            status=status,
            expires_at=expires_at,
        )

        open_upload.additional_properties = d
        return open_upload

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
