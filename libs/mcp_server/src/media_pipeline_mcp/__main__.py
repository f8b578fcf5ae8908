"""Starts the server: over standard input and output, or over HTTP with ``--http``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from media_pipeline_mcp.http import build_app, serve, token_of
from media_pipeline_mcp.pipeline import Pipeline
from media_pipeline_mcp.server import build_server

_KEY_BYTES = 32


def main() -> None:
    """Run the server that the arguments and the environment describe, until it is ended."""
    options = _options(sys.argv[1:])
    url = _needed("MEDIA_URL")
    if options.http:
        key = os.environ.get("MCP_CONFIRMATION_KEY")
        if key and len(key.encode()) < _KEY_BYTES:
            sys.exit(f"media-pipeline-mcp: MCP_CONFIRMATION_KEY needs at least {_KEY_BYTES} bytes.")
        server = build_server(Pipeline(url, token_of), reads_files=False, confirmation_key=key)
        app = build_app(
            server, allowed_hosts=options.allow_host, allowed_origins=options.allow_origin
        )
        serve(app, options.host, options.port)
    else:
        token = _needed("TOKEN")
        build_server(Pipeline(url, lambda _: token), reads_files=True).run("stdio")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="media-pipeline-mcp",
        description="The media pipeline as tools for agents. MEDIA_URL is its address. Without "
        "--http, TOKEN speaks for the company; with it, each request brings its own.",
    )
    parser.add_argument("--http", action="store_true", help="serve HTTP instead of standard input")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8808, help="port to listen on")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME[:PORT]",
        help="Host header to answer to, beside this machine's own; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN",
        help="origin whose pages may call; repeatable, none by default",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"media-pipeline-mcp: {name} is not set.")
    return value


if __name__ == "__main__":
    main()
