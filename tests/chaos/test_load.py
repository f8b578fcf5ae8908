"""A load without faults breaks no promise, and the judge says so."""

from __future__ import annotations

import time
from uuid import uuid4

from chaos.checker import judge
from chaos.evidence import gather, quiesce
from chaos.ledger import Ledger, uploads
from chaos.load import Watchers, run_load
from chaos.media import samples

_MIX = {"image": 5, "clip": 4, "bad": 7}


async def test_a_load_without_faults_keeps_all_promises(target, tmp_path):
    companies = [uuid4(), uuid4()]
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        async with Watchers(target, companies, ledger) as watchers:
            await run_load(
                target,
                count=16,
                seed=1,
                ledger=ledger,
                companies=companies,
                concurrency=4,
                mix=_MIX,
            )
            await quiesce(target, ledger, timeout=120)
            await watchers.caught_up()
        started = time.monotonic()
        evidence = await gather(target, ledger)
        verdict = judge(evidence)
        took = time.monotonic() - started

    assert verdict.ok, str(verdict)
    sent = uploads(ledger.entries())
    assert {entry.outcome for entry in sent.values()} == {"ok"}
    bad = {sample.name for sample in samples(1) if sample.kind == "bad"}
    assert bad <= {entry.sample for entry in sent.values()}
    assert verdict.counters["assets_failed"] == 7
    assert verdict.counters["assets_ready"] == 9
    assert verdict.counters["jobs_taken_over"] == 0
    assert len(evidence.decoded) == 18
    assert any(entry.md5 in {one.etag for one in evidence.objects} for entry in sent.values())
    assert took < 20
