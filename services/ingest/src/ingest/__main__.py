"""Starts ingest: ``python -m ingest``."""

from media_runtime.server import serve
from media_runtime.telemetry import configure_logging

from ingest.main import build_app
from ingest.settings import IngestSettings

if __name__ == "__main__":
    settings = IngestSettings()  # type: ignore[call-arg]  # from the environment
    configure_logging("ingest", log_format=settings.log_format, level=settings.log_level)
    serve(build_app(settings), settings)
