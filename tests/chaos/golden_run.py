"""Evidence of a run in which all went well, for tests that then break something in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from chaos.evidence import Decoded, Evidence, Found, Message
from chaos.journal import Entry, Outcome
from chaos.load import Heard

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT = NOW.timestamp()


def some_id(name: str) -> str:
    """Return the id that goes by *name*."""
    return str(uuid5(NAMESPACE_OID, name))


ONE, OTHER = some_id("one company"), some_id("another company")
_MADE = {True: ("video-early", "video", "pictures"), False: ("pictures",)}
PHOTO, CLIP, BAD = some_id("photo"), some_id("clip"), some_id("bad")


class GoodRun:
    """Evidence of a run in which all went well, with what tests change in it."""

    def __init__(self) -> None:
        self.evidence = Evidence(taken_at=NOW)
        for company in (ONE, OTHER):
            self.journal("subscribe", company=company)
        self.ended(PHOTO, ONE, "photo.jpg", "image/jpeg")
        self.ended(CLIP, OTHER, "clip.mp4", "video/mp4")
        self.ended(BAD, ONE, "text.jpg", "image/jpeg", code="type_mismatch")
        self.journal("quiesce")
        self.evidence.lag = {"ingest/media_ingest": 0}

    def journal(self, op: str, outcome: Outcome = "ok", **about: Any) -> None:
        self.evidence.journal.append(Entry(op=op, outcome=outcome, at=AT, **about))

    def ended(
        self, asset_id: str, company: str, name: str, content_type: str, *, code: str | None = None
    ) -> None:
        self.signed(asset_id, company, name, content_type, code or "ready")
        self.attempt(asset_id, 1, "failed" if code else "ready", code)

    def signed(
        self, asset_id: str, company: str, name: str, content_type: str, expect: str
    ) -> None:
        about: dict[str, Any] = {"company": company, "asset_id": asset_id, "sample": name}
        self.journal("sign", **about)
        self.journal("upload", **about, expect=expect, size=1000, md5="0" * 32)
        key = f"{company}/uploads/{asset_id}"
        self.evidence.objects.append(
            Found(bucket=f"media-{company}", key=key, size=1000, etag="0" * 32)
        )
        self.evidence.assets.append(
            {
                "id": asset_id,
                "company_id": company,
                "content_type": content_type,
                "status": "processing",
                "attempt": 1,
                "bucket": f"media-{company}",
                "error_code": None,
                "error_message": None,
                "retired": False,
            }
        )
        self.add_file(asset_id, 0, "original", key, size=1000)
        self.message("media_ingest", f"media-{company}/{key}", {})
        self.status(asset_id, 1, "pending", "processing")

    def attempt(
        self, asset_id: str, attempt: int, status: str, code: str | None = None, *, fence: int = 1
    ) -> None:
        """Let an attempt end."""
        asset = self.asset(asset_id)
        asset |= {"status": status, "attempt": attempt, "error_code": code}
        company = asset["company_id"]
        is_video = asset["content_type"].startswith("video/")
        self.add_task(asset_id, attempt, "inspect", "failed" if code else "done", fence=fence)
        for name in () if code else _MADE[is_video]:
            self.add_task(asset_id, attempt, name, "done", fence=fence)
        data: dict[str, Any] = {"attempt": attempt, "outcome": status}
        if code:
            data["error"] = {"code": code, "message": "It is bad."}
        else:
            data |= self.made(asset, attempt, fence, is_video=is_video)
        self.status(asset_id, attempt, "processing", status)
        self.event("media_processed", "media.asset.processed.v1", asset_id, data)
        self.hear(company, asset_id, "media_processed", status, attempt)

    def made(
        self, asset: dict[str, Any], attempt: int, fence: int, *, is_video: bool
    ) -> dict[str, Any]:
        """Store what is made of an upload, and return what Kafka tells of it."""
        folder = f"{asset['company_id']}/outputs/{asset['id']}"
        files = []
        for kind, key, width, height in (
            ("video", f"{folder}/{attempt}-{fence}/video.mp4", 160, 90)
            if is_video
            else ("image", f"{folder}/{attempt}/image", 160, 90),
            ("thumbnail", f"{folder}/{attempt}/thumbnail.jpg", 320, 240),
        ):
            seconds = 2.0 if kind == "video" else None
            self.store(
                asset["bucket"], key, Decoded(width=width, height=height, size=50, seconds=seconds)
            )
            files.append(
                self.add_file(
                    asset["id"],
                    attempt,
                    kind,
                    key,
                    size=50,
                    fence=fence,
                    width=width,
                    height=height,
                    duration_seconds=seconds,
                )
            )
        if is_video:
            self.segment(asset, f"{folder}/{attempt}-{fence}", attempt, fence)
        told = [
            {fact: file[fact] for fact in ("name", "key", "size", "width", "height")}
            for file in files
        ]
        return {"rendition": {**told[0]}, "thumbnail": {**told[1]}, "files": told}

    def segment(self, asset: dict[str, Any], folder: str, attempt: int, fence: int) -> None:
        """Store the one part of a stream of one size."""
        name, about = "video-90-0000", {"width": 160, "height": 90, "size": 40}
        key = f"{folder}/{name}.mp4"
        self.store(asset["bucket"], key, Decoded(**about, seconds=2.0))
        row = self.add_file(
            asset["id"], attempt, "segment", key, fence=fence, duration_seconds=2.0, stream="video",
            track="90", part=0, **about,
        )  # fmt: skip
        row["name"] = name

    def add_task(
        self, asset_id: str, attempt: int, name: str, state: str, *, fence: int = 1
    ) -> dict[str, Any]:
        """Record a task of an attempt, and return its row."""
        row = {
            "id": len(self.evidence.tasks),
            "company_id": self.asset(asset_id)["company_id"],
            "asset_id": asset_id,
            "attempt": attempt,
            "name": name,
            "pool": "encode" if name.startswith("video") else name,
            "required": True,
            "state": state,
            "fence": fence,
            "lease_until": None,
        }
        self.evidence.tasks.append(row)
        return row

    def add_file(
        self, asset_id: str, attempt: int, kind: str, key: str, **about: Any
    ) -> dict[str, Any]:
        """Record a stored object as the asset's, and return its row."""
        facts = {"fence": None, "width": None, "height": None, "duration_seconds": None, **about}
        row = {
            "asset_id": asset_id,
            "company_id": self.asset(asset_id)["company_id"],
            "attempt": attempt,
            "name": kind,
            "kind": kind,
            "key": key,
            "created_at": NOW,
            **facts,
        }
        self.evidence.files.append(row)
        return row

    def store(self, bucket: str, key: str, decoded: Decoded) -> None:
        """Have an output in storage."""
        found = Found(bucket=bucket, key=key, size=decoded.size, etag="e")
        self.evidence.objects.append(found)
        self.evidence.decoded[key] = decoded

    def another_key(self, asset_id: str, kind: str, key: str) -> None:
        """Let storage, row and Kafka agree on another key of an output; the old object stays."""
        file = self.file(asset_id, kind)
        old, file["key"] = file["key"], key
        self.store(self.asset(asset_id)["bucket"], key, self.evidence.decoded[old])
        for message in self.evidence.messages:
            data = message.event.get("data", {})
            for told in (data.get("rendition"), data.get("thumbnail"), *data.get("files", ())):
                if told and told["key"] == old:
                    told["key"] = key

    def status(self, asset_id: str, attempt: int, before: str, after: str) -> None:
        company = self.asset(asset_id)["company_id"]
        self.evidence.transitions.append(
            {
                "company_id": company,
                "asset_id": asset_id,
                "attempt": attempt,
                "from_status": before,
                "to_status": after,
            }
        )
        data = {"attempt": attempt, "status": after, "previousStatus": before}
        self.event("media_status", "media.asset.status_changed.v1", asset_id, data)
        self.hear(company, asset_id, "media_status", after, attempt)

    def event(
        self,
        topic: str,
        kind: str,
        asset_id: str,
        data: dict[str, Any],
        *,
        company: str | None = None,
    ) -> None:
        event = {
            "id": some_id(f"event {len(self.evidence.messages)}"),
            "type": kind,
            "subject": asset_id,
            "companyid": company or self.asset(asset_id)["company_id"],
            "data": data,
        }
        self.message(topic, asset_id, event)

    def message(self, topic: str, key: str, event: dict[str, Any], *, at: float = AT) -> None:
        offset = len(self.evidence.messages)
        self.evidence.messages.append(
            Message(topic=topic, partition=0, offset=offset, at=at, key=key, event=event)
        )

    def hear(self, company: str, asset_id: str, kind: str, what: str, attempt: int) -> None:
        self.evidence.heard.append(
            Heard(
                at=AT,
                company=company,
                kind=kind,
                asset_id=asset_id,
                event_id=some_id(f"heard {len(self.evidence.heard)}"),
                event_company=company,
                attempt=attempt,
                what=what,
            )
        )

    def asset(self, asset_id: str) -> dict[str, Any]:
        return next(asset for asset in self.evidence.assets if asset["id"] == asset_id)

    def file(self, asset_id: str, kind: str) -> dict[str, Any]:
        return next(
            file
            for file in self.evidence.files
            if (file["asset_id"], file["kind"]) == (asset_id, kind)
        )

    def task(self, asset_id: str, name: str) -> dict[str, Any]:
        return next(
            task
            for task in self.evidence.tasks
            if (task["asset_id"], task["name"]) == (asset_id, name)
        )

    def drop(self, name: str, doomed: Callable[[Any], bool]) -> None:
        kept = [one for one in getattr(self.evidence, name) if not doomed(one)]
        assert len(kept) < len(getattr(self.evidence, name)), "nothing is broken"
        setattr(self.evidence, name, kept)

    def forget(self, asset_id: str, doomed: Callable[[dict[str, Any]], bool]) -> None:
        """Remove rows of files."""
        files = self.evidence.files
        files[:] = [file for file in files if file["asset_id"] != asset_id or not doomed(file)]

    def retry(self, asset_id: str, status: str, code: str | None = None) -> None:
        """Let a failed asset be tried again."""
        self.journal("retry", company=self.asset(asset_id)["company_id"], asset_id=asset_id)
        self.forget(asset_id, lambda file: file["kind"] != "original")
        self.status(asset_id, 2, "failed", "processing")
        self.attempt(asset_id, 2, status, code)

    def delete(self, asset_id: str) -> None:
        asset = self.asset(asset_id)
        self.journal("delete", company=asset["company_id"], asset_id=asset_id)
        self.status(asset_id, 1, asset["status"], "deleted")
        asset["status"] = "deleted"
        self.forget(asset_id, lambda _: True)
        self.drop("objects", lambda found: asset_id in found.key)
