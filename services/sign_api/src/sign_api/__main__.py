"""Starts the sign API: ``python -m sign_api``."""

from media_runtime.http.server import serve
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.tracing import configure_tracing
from sign_api.batch_routes import PATH
from sign_api.main import build_app
from sign_api.settings import SignApiSettings

if __name__ == "__main__":
    settings = SignApiSettings()
    configure_logging("sign_api", log_format=settings.log_format, level=settings.log_level)
    configure_tracing("sign_api")
    serve(
        build_app(settings),
        settings,
        loop="uvloop",
        max_bytes_of={PATH: settings.http_max_batch_bytes},
    )
