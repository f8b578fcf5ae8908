from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast
from uuid import UUID

if TYPE_CHECKING:
    from ..models.upload import Upload


T = TypeVar("T", bound="SignResponse")


@_attrs_define
class SignResponse:
    """An upload grant. It is good for exactly this file: its key, type and size.

    Attributes:
        asset_id (UUID):
        upload (Upload): PUT the file, as it is, to ``url`` with these ``headers``.

            Its length must be the declared ``size``: ``curl -T holiday.mp4 -H "Content-Type: …" "$URL"``.
    """

    asset_id: UUID
    upload: Upload
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.upload import Upload  # noqa: PLC0415

        asset_id = str(self.asset_id)

        upload = self.upload.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "assetId": asset_id,
                "upload": upload,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.upload import Upload  # noqa: PLC0415

        d = dict(src_dict)
        asset_id = UUID(d.pop("assetId"))

        upload = Upload.from_dict(d.pop("upload"))

        sign_response = cls(
            asset_id=asset_id,
            upload=upload,
        )

        sign_response.additional_properties = d
        return sign_response

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
