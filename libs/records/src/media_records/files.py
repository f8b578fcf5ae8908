"""
The files of assets: all that is stored, served, counted or kept, one row each.

Invariant: what lies under an asset's prefix and has no row is garbage. The first file of a name
counts; rows of outputs belong to the asset's attempt, to one that shall replace it, or to one that
it has replaced, until that is swept. They go when their attempt fails.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from media_contracts import (
    AssetStatus,
    FileKind,
    MediaFile,
    ObjectRef,
    Placeholder,
    Stream,
    Text,
    Track,
)
from media_records.tables import Asset, AssetFile
from media_records.work import Reader, Tx
from media_runtime.database.postgres import Connection, Database
from media_runtime.storage.store import StoredObject, attempt_of, upload_key

_ORIGINAL_ATTEMPT = 0
_PICTURES = frozenset({FileKind.IMAGE, FileKind.THUMBNAIL, FileKind.PICTURE, FileKind.RESPONSIVE})
_OUTPUTS = [kind for kind in FileKind if kind is not FileKind.ORIGINAL]
_ADD = """
    INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, version_id,
        content_type, size, sha256, width, height, duration_seconds, stream, track, part, layout,
        fence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
    ON CONFLICT DO NOTHING
"""
# Those of segments are as long as films: only who writes a manifest reads them.
_WITHOUT_LAYOUT = ", ".join(
    "CASE WHEN kind <> 'segment' THEN layout END AS layout" if name == "layout" else name
    for name in AssetFile.model_fields
)
_OF = f"""
    SELECT {_WITHOUT_LAYOUT} FROM asset_files f WHERE asset_id = $1 AND attempt IN (0,
        coalesce($2, (SELECT a.attempt FROM media_assets a WHERE a.id = f.asset_id)))
    ORDER BY attempt, name
"""  # noqa: S608 - our own words
_FIRST_OF_EACH = f"""
    SELECT {_WITHOUT_LAYOUT} FROM asset_files f
    WHERE asset_id = ANY($1::uuid[]) AND (kind <> 'segment' OR part = 0)
        AND attempt IN (0, (SELECT a.attempt FROM media_assets a WHERE a.id = f.asset_id))
    ORDER BY attempt, name
"""  # noqa: S608 - our own words
_IMAGE = f"""
    SELECT {_WITHOUT_LAYOUT} FROM asset_files f
    WHERE asset_id = $2 AND kind = 'image' AND attempt = (
        SELECT attempt FROM media_assets WHERE id = $2 AND company_id = $1 AND status = 'ready')
"""  # noqa: S608 - our own words
_ALL_OF_EACH = f"""
    SELECT {_WITHOUT_LAYOUT} FROM asset_files WHERE asset_id = ANY($1::uuid[])
    ORDER BY attempt, name
"""  # noqa: S608 - our own words
_SEGMENTS = """
    SELECT * FROM asset_files
    WHERE asset_id = $1 AND attempt = $2 AND stream = $3 ORDER BY track, part
"""
_ADD_ORIGINALS = """
    INSERT INTO asset_files (asset_id, attempt, name, company_id, kind, key, version_id,
        content_type, size)
    SELECT a.id, $5, $6, a.company_id, $6, stored.key, stored.version_id,
        a.content_type, stored.size
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
            AS stored (asset_id, key, version_id, size)
        JOIN media_assets a ON a.id = stored.asset_id
    ON CONFLICT DO NOTHING
"""
# Another worker may have fetched it at the same time: the first one decides.
_PIN = """
    UPDATE asset_files SET sha256 = coalesce(sha256, $2)
    WHERE asset_id = $1 AND kind = 'original' RETURNING sha256
"""
_MOVE = """
    UPDATE asset_files f SET key = $5, version_id = $6 FROM media_assets a
    WHERE f.asset_id = $1 AND f.kind = 'original' AND f.key = $4
        AND a.id = f.asset_id AND a.status = $2 AND a.attempt = $3 RETURNING f.*
"""
# The server keeps the sorted keys on its disk: neither our memory nor a transaction holds them.
_DECLARE_NEEDED = """
    DECLARE needed NO SCROLL CURSOR WITH HOLD FOR
    SELECT f.key, f.asset_id, f.version_id
    FROM asset_files f JOIN media_assets a ON a.id = f.asset_id
    WHERE f.company_id = $1 AND a.updated_at <= $2
        AND a.status = CASE f.kind WHEN 'original' THEN 'processing' ELSE 'ready' END
    ORDER BY f.key
"""
_TRACKS = """
    SELECT stream, track AS name, max(width) AS width, max(height) AS height,
        sum(size)::bigint AS size, sum(duration_seconds) AS duration_seconds,
        min(layout::json->>'codecs') AS codec,
        round((sum((layout::json->>'ssim')::float * duration_seconds)
            / nullif(sum(duration_seconds) FILTER (WHERE layout::json->>'ssim' IS NOT NULL), 0)
        )::numeric, 4)::float AS ssim,
        (SELECT (t.result::json->'vmaf'->>f.track)::float FROM tasks t
            WHERE t.asset_id = $1 AND t.attempt = $2 AND t.name = f.stream || '-quality'
                -- What was measured of chunks says nothing of a film in one piece.
                AND NOT EXISTS (SELECT 1 FROM tasks w WHERE w.asset_id = $1 AND w.attempt = $2
                    AND w.name = f.stream || '-whole')
        ) AS vmaf
    FROM asset_files f
    WHERE asset_id = $1 AND attempt = $2 AND kind = 'segment' AND track <> 'tiles'
    GROUP BY stream, track ORDER BY stream, min(height), track
"""
_FORGET_ATTEMPTS = "SELECT forget_attempts($1, $2, $3)"
_SORT_SECONDS = 600.0
_PAGE = 1000

WHOLE_SOUND, EARLY_SOUND, TILES = "sound", "early", "tiles"
"""
The tracks of a stream that are no size of its pictures: its sound, the beginning of that, and
sheets of small pictures.
"""
Files = Sequence[AssetFile]


class Segment(MediaFile):
    """
    One part of one *track* of a *stream*: a size of its pictures, its sound, or a text.

    ``layout`` is JSON of what a manifest says of it, of a text that of Text.
    """

    kind: str = FileKind.SEGMENT
    stream: str
    track: str
    part: int
    layout: str


@dataclass(frozen=True)
class Needed:
    """A key that a row needs: in that version, or whatever the newest one is."""

    key: str
    asset_id: UUID
    version_id: str | None

    def is_met_by(self, stored: StoredObject) -> bool:
        """Return whether *stored* is what the row needs."""
        if stored.is_delete_marker or stored.key != self.key:
            return False
        return stored.version_id == self.version_id if self.version_id else stored.is_latest


async def add_originals(tx: Tx, announced: Mapping[UUID, StoredObject]) -> None:
    """Record the upload of each asset that was announced first."""
    uploads = announced.values()
    await tx.execute(
        _ADD_ORIGINALS,
        list(announced),
        [stored.key for stored in uploads],
        [stored.version_id for stored in uploads],
        [stored.size for stored in uploads],
        _ORIGINAL_ATTEMPT,
        FileKind.ORIGINAL.value,
    )


async def add_outputs(
    tx: Tx, asset: Asset, made: Iterable[MediaFile], *, fence: int | None = None
) -> None:
    """Record files of the asset's attempt, made at a task's *fence*."""
    await _add(
        tx,
        [
            AssetFile(
                asset_id=asset.id,
                attempt=asset.attempt,
                company_id=asset.company_id,
                fence=fence,
                **_row(file),
            )
            for file in made
        ],
    )


async def files_of(reader: Reader, asset_id: UUID, attempt: int | None = None) -> Files:
    """Return the files of an asset's attempt, or of another *attempt*; its original first."""
    return [AssetFile.of(row) for row in await reader.fetch(_OF, asset_id, attempt)]


async def all_files_of(reader: Reader, asset_id: UUID) -> Files:
    """Return the files of an asset, also those of an attempt that shall replace its own."""
    return (await all_files_of_each(reader, [asset_id]))[asset_id]


async def files_of_each(reader: Reader, asset_ids: Collection[UUID]) -> Mapping[UUID, Files]:
    """Return the files of each of these assets; of a stream's tracks the first part alone."""
    return await _of_each(reader, _FIRST_OF_EACH, asset_ids)


async def all_files_of_each(reader: Reader, asset_ids: Collection[UUID]) -> Mapping[UUID, Files]:
    """Return the files of each of these assets, all of them: what is garbage depends on each."""
    return await _of_each(reader, _ALL_OF_EACH, asset_ids)


async def _of_each(
    reader: Reader, query: str, asset_ids: Collection[UUID]
) -> Mapping[UUID, list[AssetFile]]:
    found: dict[UUID, list[AssetFile]] = {asset_id: [] for asset_id in asset_ids}
    for row in await reader.fetch(query, list(asset_ids)) if asset_ids else []:
        found[row["asset_id"]].append(AssetFile.of(row))
    return found


async def segments_of(reader: Reader, asset_id: UUID, attempt: int, stream: str) -> Files:
    """Return a stream's segments with their layouts, each track's in their order."""
    rows = await reader.fetch(_SEGMENTS, asset_id, attempt, stream)
    return [AssetFile.of(row) for row in rows]


async def streams_of(reader: Reader, asset: Asset) -> list[Stream]:
    """Return what players get of an asset's attempt."""
    found: dict[str, dict[str, Track]] = {}
    for row in await reader.fetch(_TRACKS, asset.id, asset.attempt):
        facts = {name: row[name] for name in Track.model_fields if name != "bits_per_second"}
        bits = round(8 * row["size"] / row["duration_seconds"])
        tracks = found.setdefault(row["stream"], {})
        tracks[row["name"]] = Track(**facts, bits_per_second=bits)
    for tracks in found.values():
        if WHOLE_SOUND in tracks:
            tracks.pop(EARLY_SOUND, None)
    return [Stream(name=name, tracks=list(tracks.values())) for name, tracks in found.items()]


@asynccontextmanager
async def needed_by(
    database: Database, company_id: UUID, *, before: datetime
) -> AsyncIterator[AsyncIterator[Needed]]:
    """
    Give for the block what a company's assets need in storage, in order of keys, page by page.

    Assets that changed after *before* are left out.
    """
    async with database.session() as connection:
        await connection.execute("BEGIN")
        await connection.execute(_DECLARE_NEEDED, company_id, before)
        await connection.execute("COMMIT", timeout=_SORT_SECONDS)
        yield _fetched(connection)


def needs(asset: Asset, files: Files) -> Iterator[str]:
    """Yield the keys without which an asset is not what it says."""
    for file in files:
        is_source = file.kind == FileKind.ORIGINAL
        if asset.status == (AssetStatus.PROCESSING if is_source else AssetStatus.READY):
            yield file.key


async def forget(tx: Tx, asset_id: UUID, kinds: Collection[FileKind]) -> None:
    """Forget an asset's files of these kinds, which makes garbage of their objects."""
    await tx.execute("SELECT forget_files($1, $2)", asset_id, [kind.value for kind in kinds])


async def forget_outputs(tx: Tx, asset_id: UUID) -> None:
    """Forget all that was made of an asset."""
    await forget(tx, asset_id, _OUTPUTS)


async def forget_attempt(tx: Tx, asset_id: UUID, attempt: int) -> None:
    """Forget all that one attempt made of an asset."""
    await tx.execute(_FORGET_ATTEMPTS, asset_id, attempt, attempt)


async def forget_stream(tx: Tx, asset_id: UUID, attempt: int, stream: str) -> None:
    """Forget the segments of one stream of an asset's attempt."""
    await tx.execute("SELECT forget_stream($1, $2, $3)", asset_id, attempt, stream)


async def forget_named(tx: Tx, asset: Asset, names: Collection[str]) -> None:
    """Forget what was made of an asset under these names."""
    await tx.execute("SELECT forget_named($1, $2, $3)", asset.id, asset.attempt, list(names))


async def pin_original(reader: Reader, asset_id: UUID, sha256: str) -> str | None:
    """Record what is checked now, for all who read it later; return what counts."""
    row = await reader.fetchrow(_PIN, asset_id, sha256)
    return row["sha256"] if row else None


async def move_original(
    reader: Reader, asset: Asset, original: AssetFile, *, key: str, version_id: str | None
) -> AssetFile | None:
    """
    Record that the original lies under *key* now; None where it must stay as it was.

    Someone may have begun another attempt meanwhile, which reads it where it was.
    """
    row = await reader.fetchrow(
        _MOVE, asset.id, asset.status, asset.attempt, original.key, key, version_id
    )
    return AssetFile.of(row) if row else None


def original_of(files: Files) -> AssetFile | None:
    """Return the original among an asset's files, if it is kept."""
    return next((file for file in files if file.kind == FileKind.ORIGINAL), None)


def outputs_of(files: Files) -> Mapping[str, AssetFile]:
    """Return what was made of an asset, by name."""
    return {file.name: file for file in files if file.kind != FileKind.ORIGINAL}


def told(file: AssetFile) -> MediaFile:
    """Return what others are told of a file."""
    facts = file.model_dump(include=set(MediaFile.model_fields))
    about = {"text": text_of(file), "placeholder": placeholder_of(file), "loops": loops_of(file)}
    return MediaFile.model_validate({**facts, **about})


def _row(file: MediaFile) -> dict[str, Any]:
    facts = file.model_dump(exclude={"text", "placeholder", "loops"})
    if file.placeholder:
        facts["layout"] = file.placeholder.model_dump_json()
    if file.loops is not None:
        facts["layout"] = json.dumps(file.loops)
    return facts


def loops_of(file: AssetFile) -> int | None:
    """Return how often an animation is to be shown, 0 without end; None for what is none."""
    is_one = file.kind == FileKind.ANIMATION and file.layout is not None
    return int(json.loads(file.layout or "0")) if is_one else None


def placeholder_of(file: AssetFile) -> Placeholder | None:
    """Return what stands in for a picture; None for what is none."""
    if file.kind not in _PICTURES or file.layout is None:
        return None
    return Placeholder.model_validate_json(file.layout)


def placeholder_among(files: Files) -> Placeholder | None:
    """Return what stands in for an asset until its pictures are loaded: that of its thumbnail."""
    found = sorted(files, key=lambda file: file.kind != FileKind.THUMBNAIL)
    return next((one for one in map(placeholder_of, found) if one), None)


def responsive_of(files: Files) -> Mapping[str, Files]:
    """Return pictures in several sizes, by the name of their output: the smallest first of each."""
    found: dict[str, list[AssetFile]] = {}
    for file in sorted(files, key=lambda file: (file.width or 0, file.name)):
        if file.kind == FileKind.RESPONSIVE:
            found.setdefault(file.name.rpartition("-")[0], []).append(file)
    return found


def text_of(file: AssetFile) -> Text | None:
    """Return what a text is; None for what is none."""
    return Text.model_validate_json(file.layout or "{}") if file.kind == FileKind.TEXT else None


def media_of(files: Files) -> AssetFile | None:
    """Return the file that plays or shows the whole of what was uploaded: one of sound last."""
    kinds = FileKind.VIDEO, FileKind.IMAGE, FileKind.AUDIO
    return next((file for kind in kinds for file in files if file.kind == kind), None)


async def image_of(reader: Reader, company_id: UUID, asset_id: UUID) -> AssetFile | None:
    """Return the picture that shows the whole of a company's image; None where it is not ready."""
    row = await reader.fetchrow(_IMAGE, company_id, asset_id)
    return AssetFile.of(row) if row else None


def thumbnail_of(files: Files) -> AssetFile | None:
    """Return the asset's thumbnail."""
    return next((file for file in files if file.kind == FileKind.THUMBNAIL), None)


def reference(asset: Asset, file: AssetFile) -> ObjectRef:
    """Return how to read *file*: in its version, and refusing other bytes than those checked."""
    return ObjectRef(
        bucket=asset.bucket, key=file.key, version_id=file.version_id, sha256=file.sha256
    )


def is_garbage(asset: Asset, files: Files, stored: StoredObject) -> bool:
    """Return whether no row names a version of an object of *asset*, and none ever will."""
    named = next((file for file in files if file.key == stored.key), None)
    if named is not None:
        if named.version_id is None:
            # A delete marker hides the version that is served, and makes it no garbage.
            return stored.is_superseded
        return stored.version_id != named.version_id and not stored.is_delete_marker
    if asset.status in {AssetStatus.DELETED, AssetStatus.CANCELLED}:
        return True
    if stored.owner is not None:
        may_be_announced = asset.uploaded_at is None
        return not may_be_announced or stored.key != upload_key(asset.company_id, asset.id)
    attempt = attempt_of(stored.key)
    if attempt != asset.attempt:
        # Of attempts that were to replace this one all are over, up to the last that failed.
        over = max(asset.attempt, asset.rerun_failed or 0)
        return attempt is not None and attempt <= over
    return asset.status != AssetStatus.PROCESSING and not _is_to_come(files, stored)


def _is_to_come(files: Files, stored: StoredObject) -> bool:
    """Return whether it is a later edition of a picture than the one that a row names."""
    name, edition = _edition(stored.key)
    named = (_edition(file.key) for file in files if file.kind in _PICTURES)
    return any(name == other and edition > before for other, before in named)


def _edition(key: str) -> tuple[str, int]:
    folder, _, name = key.rpartition("/")
    number = folder.rpartition("/")[2].partition("-")[2]
    return name, int(number) if number.isdecimal() else 0


async def _fetched(connection: Connection) -> AsyncIterator[Needed]:
    while rows := await connection.fetch(f"FETCH {_PAGE} FROM needed"):
        for row in rows:
            yield Needed(**row)


async def _add(tx: Tx, files: Iterable[AssetFile]) -> None:
    rows = [
        (
            file.asset_id,
            file.attempt,
            file.name,
            file.company_id,
            file.kind,
            file.key,
            file.version_id,
            file.content_type,
            file.size,
            file.sha256,
            file.width,
            file.height,
            file.duration_seconds,
            file.stream,
            file.track,
            file.part,
            file.layout,
            file.fence,
        )
        for file in files
    ]
    await tx.executemany(_ADD, rows)
