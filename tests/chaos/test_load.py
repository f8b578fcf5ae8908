"""A load without faults breaks no promise; damage done to what it left is seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import uuid4

import pytest
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore

from chaos.checker import Verdict, judge
from chaos.evidence import Evidence, gather, quiesce
from chaos.journal import Journal, uploads
from chaos.load import Watchers, run_load
from chaos.media import samples
from chaos.target import Target
from support.wire import open_rows

_SEED = 1
_MIX = {"image": 5, "clip": 4, "bad": 7}


@dataclass
class Run:
    """A load, and what the judge says of it."""

    journal: Journal
    evidence: Evidence
    verdict: Verdict
    judge_seconds: float


@pytest.fixture(scope="module")
async def run(tmp_path_factory) -> Run:
    """One load through the stack under test, without any fault."""
    target = Target.from_environment()
    companies = [uuid4(), uuid4()]
    with Journal(tmp_path_factory.mktemp("chaos") / "journal.jsonl") as journal:
        async with Watchers(target, companies, journal) as watchers:
            await run_load(
                target,
                count=16,
                seed=_SEED,
                journal=journal,
                companies=companies,
                concurrency=4,
                mix=_MIX,
            )
            await quiesce(target, journal, timeout=120)
            await watchers.caught_up()
        started = time.monotonic()
        evidence = await gather(target, journal)
        verdict = judge(evidence)
        return Run(journal, evidence, verdict, time.monotonic() - started)


async def test_a_load_without_faults_keeps_all_promises(run):
    assert run.verdict.ok, str(run.verdict)
    assert run.verdict.counters["assets_failed"] == 7
    assert run.verdict.counters["assets_ready"] == 9
    assert run.judge_seconds < 20


async def test_the_evidence_is_whole(run):
    sent = uploads(run.journal.entries())
    bad = {sample.name for sample in samples(_SEED) if sample.kind == "bad"}
    assert bad <= {entry.sample for entry in sent.values()}
    assert {entry.outcome for entry in sent.values()} == {"ok"}
    kinds = [file["kind"] for file in run.evidence.files]
    assert kinds.count("video") == 4
    assert kinds.count("thumbnail") == 9
    # The clips are too short for more than one part of each track.
    assert kinds.count("segment") >= kinds.count("video")
    assert len(run.evidence.decoded) == len(kinds) - kinds.count("original")
    assert {entry.md5 for entry in sent.values()} <= {one.etag for one in run.evidence.objects}
    assert set(run.evidence.lag) == {
        "ingest/media_ingest",
        "ingest_results/media_thumbnailed",
        "notifier_links/media_status",
        "thumbnailer/media_thumbnail",
    }
    topics = {message.topic for message in run.evidence.messages}
    assert topics == {
        "media_ingest",
        "media_processed",
        "media_status",
        "media_thumbnail",
        "media_thumbnailed",
    }


async def test_damage_is_seen(run, target):
    """Last, because it spoils the run: a lost upload, a lost thumbnail, litter, a false row."""
    ready = [asset for asset in run.evidence.assets if asset["status"] == "ready"]
    litter = target.scratch[0] / "ingest" / "left-behind"
    store = ObjectStore(StorageSettings())
    try:
        for asset, kind in ((ready[0], "original"), (ready[1], "thumbnail")):
            lost = next(
                file["key"] for file in run.evidence.files
                if file["asset_id"] == asset["id"] and file["kind"] == kind
            )  # fmt: skip
            await store.delete_prefix(asset["bucket"], lost)
        key = f"{ready[2]['company_id']}/uploads/{uuid4()}"
        await store.upload_bytes(
            ready[2]["bucket"], key, b"stray", content_type="image/jpeg", cache_control=""
        )
        litter.mkdir()
        async with open_rows() as rows:
            await rows.connection.execute(
                "UPDATE media_assets SET status = 'pending' WHERE id = $1", ready[3]["id"]
            )
        verdict = judge(await gather(target, run.journal))
    finally:
        litter.rmdir()
        store.close()
        async with open_rows() as rows:
            await rows.connection.execute(
                "UPDATE media_assets SET status = 'ready' WHERE id = $1", ready[3]["id"]
            )

    found = {(one.invariant, one.asset_id) for one in verdict.violations}
    assert found == {
        ("I1", ready[0]["id"]),
        ("I4", ready[1]["id"]),
        ("I1", key.rpartition("/")[2]),
        ("I5", None),
        ("I2", ready[3]["id"]),
    }, str(verdict)
