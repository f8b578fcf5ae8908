from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

from ..models.asset_status import AssetStatus
from ..models.crop import Crop
from ..types import UNSET, Unset
from typing import cast
from uuid import UUID

if TYPE_CHECKING:
    from ..models.asset_error import AssetError
    from ..models.asset_view_metadata import AssetViewMetadata
    from ..models.asset_warning import AssetWarning
    from ..models.file_view import FileView
    from ..models.focus_view import FocusView
    from ..models.placeholder_view import PlaceholderView
    from ..models.probe_view import ProbeView
    from ..models.profile_view import ProfileView
    from ..models.responsive_view import ResponsiveView
    from ..models.stream_view import StreamView


T = TypeVar("T", bound="AssetView")


@_attrs_define
class AssetView:
    """An asset as its company sees it.

    ``title``, ``alt``, ``focus``, ``crop`` and ``metadata`` are as its client said.
    ``size`` and ``type`` are those declared for the upload, ``sha256`` is that of its bytes;
    ``width``, ``height`` (pixels) and ``durationSeconds`` describe the processed file, ``probe``
    the uploaded one. URLs are null and ``files`` is empty until the asset is ready, but for
    ``hlsUrl``: it is there as soon as a video's beginning can be played, and its playlists grow.
    ``placeholder`` is there as soon as its thumbnail is made.

    ``place`` is one among the company's own assets that are not ready yet: 1 is ready next.
    ``readyInSeconds`` goes by what such work took lately and by who waits as well; it is null
    where nothing tells, and both are once the asset is ready.

        Attributes:
            asset_id (UUID):
            company_id (UUID):
            file_name (str):
            type_ (str):
            size (int):
            status (AssetStatus): Where an asset is in its life.
            profile (ProfileView): What is wanted of the upload: the profile that was in force when it was signed.
            created_at (str):
            updated_at (str):
            sha256 (None | str | Unset):
            title (None | str | Unset):
            alt (None | str | Unset):
            focus (FocusView | None | Unset):
            crop (Crop | None | Unset):
            metadata (AssetViewMetadata | Unset):
            batch_id (None | Unset | UUID): The batch that it came in, if any.
            place (int | None | Unset):
            ready_in_seconds (int | None | Unset):
            processed_url (None | str | Unset):
            hls_url (None | str | Unset):
            dash_url (None | str | Unset):
            storyboard_url (None | str | Unset):
            thumbnail_url (None | str | Unset):
            preview_url (None | str | Unset):
            animation_url (None | str | Unset):
            placeholder (None | PlaceholderView | Unset):
            responsive (list[ResponsiveView] | Unset):
            duration_seconds (float | None | Unset):
            width (int | None | Unset):
            height (int | None | Unset):
            error (AssetError | None | Unset):
            probe (None | ProbeView | Unset):
            warnings (list[AssetWarning] | Unset):
            files (list[FileView] | Unset):
            streams (list[StreamView] | None | Unset): Of one asset that is ready; null in lists.
            processed_at (None | str | Unset):
    """

    asset_id: UUID
    company_id: UUID
    file_name: str
    type_: str
    size: int
    status: AssetStatus
    profile: ProfileView
    created_at: str
    updated_at: str
    sha256: None | str | Unset = UNSET
    title: None | str | Unset = UNSET
    alt: None | str | Unset = UNSET
    focus: FocusView | None | Unset = UNSET
    crop: Crop | None | Unset = UNSET
    metadata: AssetViewMetadata | Unset = UNSET
    batch_id: None | Unset | UUID = UNSET
    place: int | None | Unset = UNSET
    ready_in_seconds: int | None | Unset = UNSET
    processed_url: None | str | Unset = UNSET
    hls_url: None | str | Unset = UNSET
    dash_url: None | str | Unset = UNSET
    storyboard_url: None | str | Unset = UNSET
    thumbnail_url: None | str | Unset = UNSET
    preview_url: None | str | Unset = UNSET
    animation_url: None | str | Unset = UNSET
    placeholder: None | PlaceholderView | Unset = UNSET
    responsive: list[ResponsiveView] | Unset = UNSET
    duration_seconds: float | None | Unset = UNSET
    width: int | None | Unset = UNSET
    height: int | None | Unset = UNSET
    error: AssetError | None | Unset = UNSET
    probe: None | ProbeView | Unset = UNSET
    warnings: list[AssetWarning] | Unset = UNSET
    files: list[FileView] | Unset = UNSET
    streams: list[StreamView] | None | Unset = UNSET
    processed_at: None | str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.asset_error import AssetError  # noqa: PLC0415
        from ..models.asset_view_metadata import AssetViewMetadata  # noqa: PLC0415
        from ..models.asset_warning import AssetWarning  # noqa: PLC0415
        from ..models.file_view import FileView  # noqa: PLC0415
        from ..models.focus_view import FocusView  # noqa: PLC0415
        from ..models.placeholder_view import PlaceholderView  # noqa: PLC0415
        from ..models.probe_view import ProbeView  # noqa: PLC0415
        from ..models.profile_view import ProfileView  # noqa: PLC0415
        from ..models.responsive_view import ResponsiveView  # noqa: PLC0415
        from ..models.stream_view import StreamView  # noqa: PLC0415

        asset_id = str(self.asset_id)

        company_id = str(self.company_id)

        file_name = self.file_name

        type_ = self.type_

        size = self.size

        status = self.status.value

        profile = self.profile.to_dict()

        created_at = self.created_at

        updated_at = self.updated_at

        sha256: None | str | Unset
        if isinstance(self.sha256, Unset):
            sha256 = UNSET
        else:
            sha256 = self.sha256

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

        metadata: dict[str, Any] | Unset = UNSET
        if not isinstance(self.metadata, Unset):
            metadata = self.metadata.to_dict()

        batch_id: None | str | Unset
        if isinstance(self.batch_id, Unset):
            batch_id = UNSET
        elif isinstance(self.batch_id, UUID):
            batch_id = str(self.batch_id)
        else:
            batch_id = self.batch_id

        place: int | None | Unset
        if isinstance(self.place, Unset):
            place = UNSET
        else:
            place = self.place

        ready_in_seconds: int | None | Unset
        if isinstance(self.ready_in_seconds, Unset):
            ready_in_seconds = UNSET
        else:
            ready_in_seconds = self.ready_in_seconds

        processed_url: None | str | Unset
        if isinstance(self.processed_url, Unset):
            processed_url = UNSET
        else:
            processed_url = self.processed_url

        hls_url: None | str | Unset
        if isinstance(self.hls_url, Unset):
            hls_url = UNSET
        else:
            hls_url = self.hls_url

        dash_url: None | str | Unset
        if isinstance(self.dash_url, Unset):
            dash_url = UNSET
        else:
            dash_url = self.dash_url

        storyboard_url: None | str | Unset
        if isinstance(self.storyboard_url, Unset):
            storyboard_url = UNSET
        else:
            storyboard_url = self.storyboard_url

        thumbnail_url: None | str | Unset
        if isinstance(self.thumbnail_url, Unset):
            thumbnail_url = UNSET
        else:
            thumbnail_url = self.thumbnail_url

        preview_url: None | str | Unset
        if isinstance(self.preview_url, Unset):
            preview_url = UNSET
        else:
            preview_url = self.preview_url

        animation_url: None | str | Unset
        if isinstance(self.animation_url, Unset):
            animation_url = UNSET
        else:
            animation_url = self.animation_url

        placeholder: dict[str, Any] | None | Unset
        if isinstance(self.placeholder, Unset):
            placeholder = UNSET
        elif isinstance(self.placeholder, PlaceholderView):
            placeholder = self.placeholder.to_dict()
        else:
            placeholder = self.placeholder

        responsive: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.responsive, Unset):
            responsive = []
            for responsive_item_data in self.responsive:
                responsive_item = responsive_item_data.to_dict()
                responsive.append(responsive_item)

        duration_seconds: float | None | Unset
        if isinstance(self.duration_seconds, Unset):
            duration_seconds = UNSET
        else:
            duration_seconds = self.duration_seconds

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

        error: dict[str, Any] | None | Unset
        if isinstance(self.error, Unset):
            error = UNSET
        elif isinstance(self.error, AssetError):
            error = self.error.to_dict()
        else:
            error = self.error

        probe: dict[str, Any] | None | Unset
        if isinstance(self.probe, Unset):
            probe = UNSET
        elif isinstance(self.probe, ProbeView):
            probe = self.probe.to_dict()
        else:
            probe = self.probe

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        files: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.files, Unset):
            files = []
            for files_item_data in self.files:
                files_item = files_item_data.to_dict()
                files.append(files_item)

        streams: list[dict[str, Any]] | None | Unset
        if isinstance(self.streams, Unset):
            streams = UNSET
        elif isinstance(self.streams, list):
            streams = []
            for streams_type_0_item_data in self.streams:
                streams_type_0_item = streams_type_0_item_data.to_dict()
                streams.append(streams_type_0_item)

        else:
            streams = self.streams

        processed_at: None | str | Unset
        if isinstance(self.processed_at, Unset):
            processed_at = UNSET
        else:
            processed_at = self.processed_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "assetId": asset_id,
                "companyId": company_id,
                "fileName": file_name,
                "type": type_,
                "size": size,
                "status": status,
                "profile": profile,
                "createdAt": created_at,
                "updatedAt": updated_at,
            }
        )
        if sha256 is not UNSET:
            field_dict["sha256"] = sha256
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
        if batch_id is not UNSET:
            field_dict["batchId"] = batch_id
        if place is not UNSET:
            field_dict["place"] = place
        if ready_in_seconds is not UNSET:
            field_dict["readyInSeconds"] = ready_in_seconds
        if processed_url is not UNSET:
            field_dict["processedUrl"] = processed_url
        if hls_url is not UNSET:
            field_dict["hlsUrl"] = hls_url
        if dash_url is not UNSET:
            field_dict["dashUrl"] = dash_url
        if storyboard_url is not UNSET:
            field_dict["storyboardUrl"] = storyboard_url
        if thumbnail_url is not UNSET:
            field_dict["thumbnailUrl"] = thumbnail_url
        if preview_url is not UNSET:
            field_dict["previewUrl"] = preview_url
        if animation_url is not UNSET:
            field_dict["animationUrl"] = animation_url
        if placeholder is not UNSET:
            field_dict["placeholder"] = placeholder
        if responsive is not UNSET:
            field_dict["responsive"] = responsive
        if duration_seconds is not UNSET:
            field_dict["durationSeconds"] = duration_seconds
        if width is not UNSET:
            field_dict["width"] = width
        if height is not UNSET:
            field_dict["height"] = height
        if error is not UNSET:
            field_dict["error"] = error
        if probe is not UNSET:
            field_dict["probe"] = probe
        if warnings is not UNSET:
            field_dict["warnings"] = warnings
        if files is not UNSET:
            field_dict["files"] = files
        if streams is not UNSET:
            field_dict["streams"] = streams
        if processed_at is not UNSET:
            field_dict["processedAt"] = processed_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.asset_error import AssetError  # noqa: PLC0415
        from ..models.asset_view_metadata import AssetViewMetadata  # noqa: PLC0415
        from ..models.asset_warning import AssetWarning  # noqa: PLC0415
        from ..models.file_view import FileView  # noqa: PLC0415
        from ..models.focus_view import FocusView  # noqa: PLC0415
        from ..models.placeholder_view import PlaceholderView  # noqa: PLC0415
        from ..models.probe_view import ProbeView  # noqa: PLC0415
        from ..models.profile_view import ProfileView  # noqa: PLC0415
        from ..models.responsive_view import ResponsiveView  # noqa: PLC0415
        from ..models.stream_view import StreamView  # noqa: PLC0415

        d = dict(src_dict)
        asset_id = UUID(d.pop("assetId"))

        company_id = UUID(d.pop("companyId"))

        file_name = d.pop("fileName")

        type_ = d.pop("type")

        size = d.pop("size")

        status = AssetStatus(d.pop("status"))

        profile = ProfileView.from_dict(d.pop("profile"))

        created_at = d.pop("createdAt")

        updated_at = d.pop("updatedAt")

        def _parse_sha256(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sha256 = _parse_sha256(d.pop("sha256", UNSET))

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

        _metadata = d.pop("metadata", UNSET)
        metadata: AssetViewMetadata | Unset
        if isinstance(_metadata, Unset):
            metadata = UNSET
        else:
            metadata = AssetViewMetadata.from_dict(_metadata)

        def _parse_batch_id(data: object) -> None | Unset | UUID:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                batch_id_type_0 = UUID(data)

                return batch_id_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Unset | UUID, data)

        batch_id = _parse_batch_id(d.pop("batchId", UNSET))

        def _parse_place(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        place = _parse_place(d.pop("place", UNSET))

        def _parse_ready_in_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        ready_in_seconds = _parse_ready_in_seconds(d.pop("readyInSeconds", UNSET))

        def _parse_processed_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        processed_url = _parse_processed_url(d.pop("processedUrl", UNSET))

        def _parse_hls_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        hls_url = _parse_hls_url(d.pop("hlsUrl", UNSET))

        def _parse_dash_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        dash_url = _parse_dash_url(d.pop("dashUrl", UNSET))

        def _parse_storyboard_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        storyboard_url = _parse_storyboard_url(d.pop("storyboardUrl", UNSET))

        def _parse_thumbnail_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        thumbnail_url = _parse_thumbnail_url(d.pop("thumbnailUrl", UNSET))

        def _parse_preview_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        preview_url = _parse_preview_url(d.pop("previewUrl", UNSET))

        def _parse_animation_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        animation_url = _parse_animation_url(d.pop("animationUrl", UNSET))

        def _parse_placeholder(data: object) -> None | PlaceholderView | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                placeholder_type_0 = PlaceholderView.from_dict(data)

                return placeholder_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | PlaceholderView | Unset, data)

        placeholder = _parse_placeholder(d.pop("placeholder", UNSET))

        _responsive = d.pop("responsive", UNSET)
        responsive: list[ResponsiveView] | Unset = UNSET
        if _responsive is not UNSET:
            responsive = []
            for responsive_item_data in _responsive:
                responsive_item = ResponsiveView.from_dict(responsive_item_data)

                responsive.append(responsive_item)

        def _parse_duration_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        duration_seconds = _parse_duration_seconds(d.pop("durationSeconds", UNSET))

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

        def _parse_error(data: object) -> AssetError | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                error_type_0 = AssetError.from_dict(data)

                return error_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AssetError | None | Unset, data)

        error = _parse_error(d.pop("error", UNSET))

        def _parse_probe(data: object) -> None | ProbeView | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                probe_type_0 = ProbeView.from_dict(data)

                return probe_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ProbeView | Unset, data)

        probe = _parse_probe(d.pop("probe", UNSET))

        _warnings = d.pop("warnings", UNSET)
        warnings: list[AssetWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = AssetWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        _files = d.pop("files", UNSET)
        files: list[FileView] | Unset = UNSET
        if _files is not UNSET:
            files = []
            for files_item_data in _files:
                files_item = FileView.from_dict(files_item_data)

                files.append(files_item)

        def _parse_streams(data: object) -> list[StreamView] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                streams_type_0 = []
                _streams_type_0 = data
                for streams_type_0_item_data in _streams_type_0:
                    streams_type_0_item = StreamView.from_dict(streams_type_0_item_data)

                    streams_type_0.append(streams_type_0_item)

                return streams_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[StreamView] | None | Unset, data)

        streams = _parse_streams(d.pop("streams", UNSET))

        def _parse_processed_at(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        processed_at = _parse_processed_at(d.pop("processedAt", UNSET))

        asset_view = cls(
            asset_id=asset_id,
            company_id=company_id,
            file_name=file_name,
            type_=type_,
            size=size,
            status=status,
            profile=profile,
            created_at=created_at,
            updated_at=updated_at,
            sha256=sha256,
            title=title,
            alt=alt,
            focus=focus,
            crop=crop,
            metadata=metadata,
            batch_id=batch_id,
            place=place,
            ready_in_seconds=ready_in_seconds,
            processed_url=processed_url,
            hls_url=hls_url,
            dash_url=dash_url,
            storyboard_url=storyboard_url,
            thumbnail_url=thumbnail_url,
            preview_url=preview_url,
            animation_url=animation_url,
            placeholder=placeholder,
            responsive=responsive,
            duration_seconds=duration_seconds,
            width=width,
            height=height,
            error=error,
            probe=probe,
            warnings=warnings,
            files=files,
            streams=streams,
            processed_at=processed_at,
        )

        asset_view.additional_properties = d
        return asset_view

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
