from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from typing import cast
from uuid import UUID

if TYPE_CHECKING:
    from ..models.batch_counts import BatchCounts
    from ..models.batch_upload import BatchUpload
    from ..models.new_batch_metadata import NewBatchMetadata


T = TypeVar("T", bound="NewBatch")


@_attrs_define
class NewBatch:
    """A batch with a grant for each of its files, in the order of the request.

    Attributes:
        batch_id (UUID):
        metadata (NewBatchMetadata):
        uploads (int):
        counts (BatchCounts): How many uploads of a batch have each status.
        decided (bool):
        created_at (str):
        decided_at (None | str):
        items (list[BatchUpload]):
    """

    batch_id: UUID
    metadata: NewBatchMetadata
    uploads: int
    counts: BatchCounts
    decided: bool
    created_at: str
    decided_at: None | str
    items: list[BatchUpload]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.batch_counts import BatchCounts  # noqa: PLC0415
        from ..models.batch_upload import BatchUpload  # noqa: PLC0415
        from ..models.new_batch_metadata import NewBatchMetadata  # noqa: PLC0415

        batch_id = str(self.batch_id)

        metadata = self.metadata.to_dict()

        uploads = self.uploads

        counts = self.counts.to_dict()

        decided = self.decided

        created_at = self.created_at

        decided_at: None | str
        decided_at = self.decided_at

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "batchId": batch_id,
                "metadata": metadata,
                "uploads": uploads,
                "counts": counts,
                "decided": decided,
                "createdAt": created_at,
                "decidedAt": decided_at,
                "items": items,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.batch_counts import BatchCounts  # noqa: PLC0415
        from ..models.batch_upload import BatchUpload  # noqa: PLC0415
        from ..models.new_batch_metadata import NewBatchMetadata  # noqa: PLC0415

        d = dict(src_dict)
        batch_id = UUID(d.pop("batchId"))

        metadata = NewBatchMetadata.from_dict(d.pop("metadata"))

        uploads = d.pop("uploads")

        counts = BatchCounts.from_dict(d.pop("counts"))

        decided = d.pop("decided")

        created_at = d.pop("createdAt")

        def _parse_decided_at(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        decided_at = _parse_decided_at(d.pop("decidedAt"))

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = BatchUpload.from_dict(items_item_data)

            items.append(items_item)

        new_batch = cls(
            batch_id=batch_id,
            metadata=metadata,
            uploads=uploads,
            counts=counts,
            decided=decided,
            created_at=created_at,
            decided_at=decided_at,
            items=items,
        )

        new_batch.additional_properties = d
        return new_batch

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
