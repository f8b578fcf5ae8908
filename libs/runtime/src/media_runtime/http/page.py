"""The page that shows an API to people who develop with it, from files of our own."""

from __future__ import annotations

from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from media_runtime.http.guard import API_PAGE_PATH
from media_runtime.settings import Settings

# swagger-ui-dist as npm has it, whose version package.json says, and what starts it.
_FILES = Path(__file__).parent / "swagger_ui"
_SCRIPTS = ("swagger-ui-bundle.js", "start.js")
_STYLE = "swagger-ui.css"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="docs/{style}">
{scripts}
</head>
<body><div id="swagger-ui"></div></body>
</html>
"""


def serve_api_page(app: FastAPI, settings: Settings) -> None:
    """Serve the page and its files, except in production, where there is none."""
    if settings.media_env == "production":
        return
    scripts = "\n".join(f'<script src="docs/{name}"></script>' for name in _SCRIPTS)
    text = _PAGE.format(title=escape(app.title), style=_STYLE, scripts=scripts)

    async def page(_: Request) -> Response:
        return HTMLResponse(text)

    async def file(request: Request) -> Response:
        return FileResponse(_FILES / request.url.path.rpartition("/")[2])

    app.add_route(API_PAGE_PATH, page, include_in_schema=False)
    for name in (*_SCRIPTS, _STYLE):
        app.add_route(f"{API_PAGE_PATH}/{name}", file, include_in_schema=False)
