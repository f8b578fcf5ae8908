from enum import StrEnum


class Crop(StrEnum):
    ATTENTION = "attention"
    MIDDLE = "middle"

    def __str__(self) -> str:
        return str(self.value)
