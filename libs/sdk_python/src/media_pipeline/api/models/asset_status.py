from enum import StrEnum


class AssetStatus(StrEnum):
    CANCELLED = "cancelled"
    DELETED = "deleted"
    EXPIRED = "expired"
    FAILED = "failed"
    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"

    def __str__(self) -> str:
        return str(self.value)
