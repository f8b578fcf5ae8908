from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..types import UNSET, Unset
from typing import cast

if TYPE_CHECKING:
    from ..models.colour_view import ColourView
    from ..models.sound_view import SoundView
    from ..models.text_track_view import TextTrackView


T = TypeVar("T", bound="ProbeView")


@_attrs_define
class ProbeView:
    """What the uploaded file is. ``width`` and ``height`` are in pixels as people see it.

    ``rotation`` is how far players turn the stored picture, in degrees clockwise.

        Attributes:
            container (str):
            codec (None | str | Unset):
            width (int | None | Unset):
            height (int | None | Unset):
            rotation (int | None | Unset):
            duration_seconds (float | None | Unset):
            frame_rate (float | None | Unset):
            frames (int | None | Unset):
            colour (ColourView | None | Unset):
            hdr (bool | None | Unset):
            sound (list[SoundView] | None | Unset):
            text (list[TextTrackView] | None | Unset):
    """

    container: str
    codec: None | str | Unset = UNSET
    width: int | None | Unset = UNSET
    height: int | None | Unset = UNSET
    rotation: int | None | Unset = UNSET
    duration_seconds: float | None | Unset = UNSET
    frame_rate: float | None | Unset = UNSET
    frames: int | None | Unset = UNSET
    colour: ColourView | None | Unset = UNSET
    hdr: bool | None | Unset = UNSET
    sound: list[SoundView] | None | Unset = UNSET
    text: list[TextTrackView] | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.colour_view import ColourView  # noqa: PLC0415
        from ..models.sound_view import SoundView  # noqa: PLC0415
        from ..models.text_track_view import TextTrackView  # noqa: PLC0415

        container = self.container

        codec: None | str | Unset
        if isinstance(self.codec, Unset):
            codec = UNSET
        else:
            codec = self.codec

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

        rotation: int | None | Unset
        if isinstance(self.rotation, Unset):
            rotation = UNSET
        else:
            rotation = self.rotation

        duration_seconds: float | None | Unset
        if isinstance(self.duration_seconds, Unset):
            duration_seconds = UNSET
        else:
            duration_seconds = self.duration_seconds

        frame_rate: float | None | Unset
        if isinstance(self.frame_rate, Unset):
            frame_rate = UNSET
        else:
            frame_rate = self.frame_rate

        frames: int | None | Unset
        if isinstance(self.frames, Unset):
            frames = UNSET
        else:
            frames = self.frames

        colour: dict[str, Any] | None | Unset
        if isinstance(self.colour, Unset):
            colour = UNSET
        elif isinstance(self.colour, ColourView):
            colour = self.colour.to_dict()
        else:
            colour = self.colour

        hdr: bool | None | Unset
        if isinstance(self.hdr, Unset):
            hdr = UNSET
        else:
            hdr = self.hdr

        sound: list[dict[str, Any]] | None | Unset
        if isinstance(self.sound, Unset):
            sound = UNSET
        elif isinstance(self.sound, list):
            sound = []
            for sound_type_0_item_data in self.sound:
                sound_type_0_item = sound_type_0_item_data.to_dict()
                sound.append(sound_type_0_item)

        else:
            sound = self.sound

        text: list[dict[str, Any]] | None | Unset
        if isinstance(self.text, Unset):
            text = UNSET
        elif isinstance(self.text, list):
            text = []
            for text_type_0_item_data in self.text:
                text_type_0_item = text_type_0_item_data.to_dict()
                text.append(text_type_0_item)

        else:
            text = self.text

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "container": container,
            }
        )
        if codec is not UNSET:
            field_dict["codec"] = codec
        if width is not UNSET:
            field_dict["width"] = width
        if height is not UNSET:
            field_dict["height"] = height
        if rotation is not UNSET:
            field_dict["rotation"] = rotation
        if duration_seconds is not UNSET:
            field_dict["durationSeconds"] = duration_seconds
        if frame_rate is not UNSET:
            field_dict["frameRate"] = frame_rate
        if frames is not UNSET:
            field_dict["frames"] = frames
        if colour is not UNSET:
            field_dict["colour"] = colour
        if hdr is not UNSET:
            field_dict["hdr"] = hdr
        if sound is not UNSET:
            field_dict["sound"] = sound
        if text is not UNSET:
            field_dict["text"] = text

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.colour_view import ColourView  # noqa: PLC0415
        from ..models.sound_view import SoundView  # noqa: PLC0415
        from ..models.text_track_view import TextTrackView  # noqa: PLC0415

        d = dict(src_dict)
        container = d.pop("container")

        def _parse_codec(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        codec = _parse_codec(d.pop("codec", UNSET))

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

        def _parse_rotation(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        rotation = _parse_rotation(d.pop("rotation", UNSET))

        def _parse_duration_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        duration_seconds = _parse_duration_seconds(d.pop("durationSeconds", UNSET))

        def _parse_frame_rate(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        frame_rate = _parse_frame_rate(d.pop("frameRate", UNSET))

        def _parse_frames(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        frames = _parse_frames(d.pop("frames", UNSET))

        def _parse_colour(data: object) -> ColourView | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                colour_type_0 = ColourView.from_dict(data)

                return colour_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ColourView | None | Unset, data)

        colour = _parse_colour(d.pop("colour", UNSET))

        def _parse_hdr(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        hdr = _parse_hdr(d.pop("hdr", UNSET))

        def _parse_sound(data: object) -> list[SoundView] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                sound_type_0 = []
                _sound_type_0 = data
                for sound_type_0_item_data in _sound_type_0:
                    sound_type_0_item = SoundView.from_dict(sound_type_0_item_data)

                    sound_type_0.append(sound_type_0_item)

                return sound_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[SoundView] | None | Unset, data)

        sound = _parse_sound(d.pop("sound", UNSET))

        def _parse_text(data: object) -> list[TextTrackView] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                text_type_0 = []
                _text_type_0 = data
                for text_type_0_item_data in _text_type_0:
                    text_type_0_item = TextTrackView.from_dict(text_type_0_item_data)

                    text_type_0.append(text_type_0_item)

                return text_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[TextTrackView] | None | Unset, data)

        text = _parse_text(d.pop("text", UNSET))

        probe_view = cls(
            container=container,
            codec=codec,
            width=width,
            height=height,
            rotation=rotation,
            duration_seconds=duration_seconds,
            frame_rate=frame_rate,
            frames=frames,
            colour=colour,
            hdr=hdr,
            sound=sound,
            text=text,
        )

        probe_view.additional_properties = d
        return probe_view

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
