"""Starts the thumbnailer: ``python -m thumbnailer``."""


def main() -> None:
    """Run the service as its environment says, until SIGTERM."""
    # Imported here, because each picture process imports this module at its start.
    from media_runtime.http.server import serve
    from media_runtime.telemetry.ops import configure_logging
    from media_runtime.telemetry.tracing import configure_tracing
    from thumbnailer.main import build_app
    from thumbnailer.settings import ThumbnailerSettings

    settings = ThumbnailerSettings()
    configure_logging("thumbnailer", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("thumbnailer")
    serve(build_app(settings), settings)


if __name__ == "__main__":
    main()
