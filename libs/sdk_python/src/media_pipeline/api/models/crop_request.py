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
    from ..models.focus_view import FocusView


T = TypeVar("T", bound="CropRequest")


@_attrs_define
class CropRequest:
    """What an asset's crops shall have in their middle.

    Where ``focus`` is null, ``crop`` says it: ``middle`` or null is that of the whole,
    ``attention`` what people look at first.

        Attributes:
            focus (FocusView | None):
            crop (Crop | None | Unset):
    """

    focus: FocusView | None
    crop: Crop | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.focus_view import FocusView  # noqa: PLC0415

        focus: dict[str, Any] | None
        if isinstance(self.focus, FocusView):
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

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "focus": focus,
            }
        )
        if crop is not UNSET:
            field_dict["crop"] = crop

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.focus_view import FocusView  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_focus(data: object) -> FocusView | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                focus_type_0 = FocusView.from_dict(data)

                return focus_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(FocusView | None, data)

        focus = _parse_focus(d.pop("focus"))

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

        crop_request = cls(
            focus=focus,
            crop=crop,
        )

        crop_request.additional_properties = d
        return crop_request

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
