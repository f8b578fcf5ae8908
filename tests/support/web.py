"""A web server that notes who visits it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def web_server(pages: Mapping[str, bytes] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve *pages*, by path, and give the address and the paths that were visited so far."""
    visits: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            visits.append(self.path)
            page = (pages or {}).get(self.path)
            if page is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", visits
        finally:
            server.shutdown()
            thread.join()
