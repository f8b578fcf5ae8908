"""Contains all the data models used in inputs/outputs"""

from .asset_error import AssetError
from .asset_page import AssetPage
from .asset_status import AssetStatus
from .asset_view import AssetView
from .asset_view_metadata import AssetViewMetadata
from .asset_warning import AssetWarning
from .batch_counts import BatchCounts
from .batch_item import BatchItem
from .batch_item_metadata_type_0 import BatchItemMetadataType0
from .batch_page import BatchPage
from .batch_request import BatchRequest
from .batch_request_metadata_type_0 import BatchRequestMetadataType0
from .batch_upload import BatchUpload
from .batch_uploads import BatchUploads
from .batch_view import BatchView
from .batch_view_metadata import BatchViewMetadata
from .colour_view import ColourView
from .crop import Crop
from .crop_request import CropRequest
from .delivery_page import DeliveryPage
from .delivery_state import DeliveryState
from .delivery_view import DeliveryView
from .endpoint_change import EndpointChange
from .endpoint_list import EndpointList
from .endpoint_request import EndpointRequest
from .endpoint_view import EndpointView
from .file_view import FileView
from .focus_view import FocusView
from .new_batch import NewBatch
from .new_batch_metadata import NewBatchMetadata
from .new_endpoint import NewEndpoint
from .open_upload import OpenUpload
from .part_grant import PartGrant
from .parts_request import PartsRequest
from .parts_response import PartsResponse
from .pinged import Pinged
from .placeholder_view import PlaceholderView
from .poster_request import PosterRequest
from .probe_view import ProbeView
from .problem import Problem
from .profile_view import ProfileView
from .replay_request import ReplayRequest
from .replayed import Replayed
from .responsive_view import ResponsiveView
from .sign_request import SignRequest
from .sign_request_metadata_type_0 import SignRequestMetadataType0
from .sign_response import SignResponse
from .sound_view import SoundView
from .source_view import SourceView
from .stored_part_view import StoredPartView
from .stream_view import StreamView
from .text_track_view import TextTrackView
from .text_view import TextView
from .ticket_view import TicketView
from .track_view import TrackView
from .upload import Upload
from .upload_headers import UploadHeaders
from .upload_page import UploadPage
from .upload_request import UploadRequest
from .upload_request_metadata_type_0 import UploadRequestMetadataType0
from .upload_status import UploadStatus
from .upload_view import UploadView

__all__ = (
    "AssetError",
    "AssetPage",
    "AssetStatus",
    "AssetView",
    "AssetViewMetadata",
    "AssetWarning",
    "BatchCounts",
    "BatchItem",
    "BatchItemMetadataType0",
    "BatchPage",
    "BatchRequest",
    "BatchRequestMetadataType0",
    "BatchUpload",
    "BatchUploads",
    "BatchView",
    "BatchViewMetadata",
    "ColourView",
    "Crop",
    "CropRequest",
    "DeliveryPage",
    "DeliveryState",
    "DeliveryView",
    "EndpointChange",
    "EndpointList",
    "EndpointRequest",
    "EndpointView",
    "FileView",
    "FocusView",
    "NewBatch",
    "NewBatchMetadata",
    "NewEndpoint",
    "OpenUpload",
    "PartGrant",
    "PartsRequest",
    "PartsResponse",
    "Pinged",
    "PlaceholderView",
    "PosterRequest",
    "ProbeView",
    "Problem",
    "ProfileView",
    "Replayed",
    "ReplayRequest",
    "ResponsiveView",
    "SignRequest",
    "SignRequestMetadataType0",
    "SignResponse",
    "SoundView",
    "SourceView",
    "StoredPartView",
    "StreamView",
    "TextTrackView",
    "TextView",
    "TicketView",
    "TrackView",
    "Upload",
    "UploadHeaders",
    "UploadPage",
    "UploadRequest",
    "UploadRequestMetadataType0",
    "UploadStatus",
    "UploadView",
)
