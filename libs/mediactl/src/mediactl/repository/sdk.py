"""The generated parts of the SDKs, from the OpenAPI documents of the services themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from media_contracts.formats import TYPE_OF_EXTENSION
from mediactl.devstack.home import Home
from mediactl.errors import MediactlError
from mediactl.repository.npm import SDK_TYPESCRIPT, installed, node

SDK_PYTHON = "libs/sdk_python/src/media_pipeline/api"
"""Where the generated part of the Python SDK lies."""
TYPES = "libs/sdk_python/src/media_pipeline/types_by_name.py"
"""Where the Python SDK has the MIME types of files by their names."""
API_TYPESCRIPT = f"{SDK_TYPESCRIPT}/src/api.ts"
"""Where the types of the TypeScript SDK lie."""
TYPES_TYPESCRIPT = f"{SDK_TYPESCRIPT}/src/types-by-name.ts"
"""Where the TypeScript SDK has the MIME types of files by their names."""
_CONFIG = "package_name_override: api\nliteral_enums: false\npost_hooks: []\n"
_ANY_SECRET = "x" * 32
_ANY: dict[str, Any] = {
    "kafka_bootstrap_servers": "kafka:9092",
    "database_url": "postgresql://postgres",
    "jwt_secret": _ANY_SECRET,
    "media_env": "development",
}


def document() -> dict[str, Any]:
    """Return the operations of both public services as one document; no server is needed."""
    from notifier.main import build_app as notifier
    from notifier.settings import NotifierSettings
    from sign_api.main import build_app as sign_api
    from sign_api.settings import SignApiSettings

    settings = SignApiSettings(
        **_ANY,
        s3_endpoint_url="http://minio:9000",
        s3_access_key="any",
        s3_secret_key=_ANY_SECRET,
        media_public_url="https://media.example.com",
        edge_keys=f"a:{_ANY_SECRET}",
    )
    found = sign_api(settings).openapi()
    events, _ = notifier(NotifierSettings(**_ANY, event_id_secret=_ANY_SECRET))
    others = events.openapi()
    found["info"]["title"] = "Media pipeline"
    # A stream of events has no end, which no generated method can wait for.
    found["paths"] |= {p: one for p, one in others["paths"].items() if p.endswith("/ticket")}
    schemas = found["components"]["schemas"]
    schemas |= {n: one for n, one in others["components"]["schemas"].items() if n not in schemas}
    return found


def types_by_name() -> str:
    """Return the Python SDK's module of MIME types, by what names of files end with."""
    rows = "".join(f'    "{end}": "{kind}",\n' for end, kind in sorted(TYPE_OF_EXTENSION.items()))
    return (
        '"""MIME types of files by the ends of their names, by ./mediactl generate-sdk."""\n\n'
        f"TYPE_OF_EXTENSION = {{\n{rows}}}\n"
    )


def types_by_name_typescript() -> str:
    """Return the TypeScript SDK's module of MIME types, by what names of files end with."""
    rows = "".join(f'  "{end}": "{kind}",\n' for end, kind in sorted(TYPE_OF_EXTENSION.items()))
    return (
        "/** MIME types of files by the ends of their names, by ./mediactl generate-sdk. */\n\n"
        "export const TYPE_OF_EXTENSION: Readonly<Record<string, string>> = {\n"
        f"{rows}}};\n"
    )


def write_typescript(home: Home, target: Path) -> None:
    """Write the types of the TypeScript SDK to the file *target*; raises MediactlError."""
    generator = installed(home) / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    with TemporaryDirectory() as name:
        spec, made = Path(name) / "openapi.json", Path(name) / "api.ts"
        spec.write_text(json.dumps(document()))
        # A field with a default may be left out of a request.
        options = ("--root-types", "--root-types-no-schema-prefix", "--default-non-nullable=false")
        done = subprocess.run(
            [node(), generator, spec, "--output", made, *options],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise MediactlError(f"openapi-typescript failed:\n{done.stderr}")
        target.write_text(made.read_text())


def write_python(folder: Path) -> None:
    """Write the package ``api`` of the Python SDK into *folder*, in place of what is there."""
    with TemporaryDirectory() as name:
        spec, config = Path(name) / "openapi.json", Path(name) / "config.yml"
        spec.write_text(json.dumps(document()))
        config.write_text(_CONFIG)
        generator = Path(sys.executable).with_name("openapi-python-client")
        subprocess.run(
            [
                *(generator, "generate", "--path", spec, "--config", config, "--meta", "none"),
                *("--overwrite", "--output-path", folder),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    subprocess.run(
        [Path(sys.executable).with_name("ruff"), "format", "--quiet", "--no-cache", "--isolated",
         "--line-length=100", folder],
        check=True,
    )  # fmt: skip
