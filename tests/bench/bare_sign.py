"""What a user would write instead: FastAPI and asyncpg, one row and one signed URL."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import uvicorn
from fastapi import FastAPI
from minio import Minio
from pydantic import BaseModel

_TABLE = """
    CREATE TABLE IF NOT EXISTS bare_assets (
        id uuid PRIMARY KEY, file_name text, size bigint, type text, key text,
        created_at timestamptz DEFAULT now()
    )
"""
_INSERT = "INSERT INTO bare_assets (id, file_name, size, type, key) VALUES ($1, $2, $3, $4, $5)"


class SignRequest(BaseModel):
    fileName: str  # noqa: N815 - the API's own spelling
    size: int
    type: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=10) as pool:
        await pool.execute(_TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
storage = Minio(
    urlsplit(os.environ["S3_ENDPOINT_URL"]).netloc,
    os.environ["S3_ACCESS_KEY"],
    os.environ["S3_SECRET_KEY"],
    secure=False,
    region="us-east-1",
)


@app.post("/api/media/sign", status_code=201)
async def sign(request: SignRequest) -> dict[str, Any]:
    asset_id = uuid4()
    key = f"company/uploads/{asset_id}"
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    url = storage.presigned_put_object("media-company", key, expires=timedelta(hours=1))
    await app.state.pool.execute(
        _INSERT, asset_id, request.fileName, request.size, request.type, key
    )
    return {
        "assetId": str(asset_id),
        "upload": {
            "method": "PUT",
            "url": url,
            "expiresAt": expires_at.isoformat(),
        },
    }


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
