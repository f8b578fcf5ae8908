"""Starts ingest: ``python -m ingest``."""

from ingest.main import build_app
from ingest.settings import IngestSettings
from media_runtime.server import serve
from media_runtime.telemetry import configure_logging

if __name__ == "__main__":
    settings = IngestSettings()
    configure_logging("ingest", log_format=settings.log_format, level=settings.log_level)
    serve(build_app(settings), settings)
