"""Starts the notifier: ``python -m notifier``."""

from media_runtime.http.server import serve
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.tracing import configure_tracing
from notifier.main import build_app
from notifier.settings import NotifierSettings

if __name__ == "__main__":
    settings = NotifierSettings()
    configure_logging("notifier", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("notifier")
    app, end_streams = build_app(settings)
    serve(app, settings, on_stop=end_streams)
