from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset


T = TypeVar("T", bound="BatchCounts")


@_attrs_define
class BatchCounts:
    """How many uploads of a batch have each status.

    Attributes:
        pending (int):
        processing (int):
        ready (int):
        failed (int):
        expired (int):
        cancelled (int):
        deleted (int):
    """

    pending: int
    processing: int
    ready: int
    failed: int
    expired: int
    cancelled: int
    deleted: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        pending = self.pending

        processing = self.processing

        ready = self.ready

        failed = self.failed

        expired = self.expired

        cancelled = self.cancelled

        deleted = self.deleted

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "pending": pending,
                "processing": processing,
                "ready": ready,
                "failed": failed,
                "expired": expired,
                "cancelled": cancelled,
                "deleted": deleted,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        pending = d.pop("pending")

        processing = d.pop("processing")

        ready = d.pop("ready")

        failed = d.pop("failed")

        expired = d.pop("expired")

        cancelled = d.pop("cancelled")

        deleted = d.pop("deleted")

        batch_counts = cls(
            pending=pending,
            processing=processing,
            ready=ready,
            failed=failed,
            expired=expired,
            cancelled=cancelled,
            deleted=deleted,
        )

        batch_counts.additional_properties = d
        return batch_counts

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
