"""Starts ingest: ``python -m ingest``."""


def main() -> None:
    """Run until SIGTERM."""
    # The processes that read pictures import this module again, and need none of this.
    from ingest.main import build_app
    from ingest.settings import IngestSettings
    from media_runtime.http.server import serve
    from media_runtime.telemetry.ops import configure_logging
    from media_runtime.telemetry.tracing import configure_tracing

    settings = IngestSettings()
    configure_logging("ingest", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("ingest")
    serve(build_app(settings), settings)


if __name__ == "__main__":
    main()
