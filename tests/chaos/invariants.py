"""
The invariants that the pipeline makes, each as a function from a case to what breaks it.

Invariant: what follows from a fault elsewhere is left to the promise that it breaks itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from chaos.case import ENDED, GONE, STATUS_CHANGED, Case, grouped
from chaos.evidence import Decoded, Found
from chaos.journal import Entry
from chaos.load import Heard
from chaos.media import READY

THUMBNAIL_SIZE = (320, 240)
_OPEN = frozenset({"blocked", "queued", "running"})
_OUTPUT = re.compile(
    r"[^/]+/outputs/(?P<asset>[^/]+)/(?P<attempt>[0-9]+)(-(?P<fence>[0-9]+))?/[^/]+"
)
_ORIGINAL = re.compile(r"[^/]+/(uploads|quarantine)/(?P<asset>[^/]+)")
_FACTS = ("key", "size", "width", "height")
_MD5 = re.compile(r"[0-9a-f]{32}")
_SECONDS_OFF = 0.5

Findings = Iterator[tuple[str | None, str]]
"""What breaks a promise: the asset concerned, where there is one, and what shows it."""


def uploads_are_stored(case: Case) -> Findings:
    """I1: every stored upload has its asset, every acknowledged upload is stored."""
    for asset_id, found in case.originals.items():
        if asset_id not in case.assets:
            yield asset_id, f"{found.key} is stored, but there is no such asset"
    for asset_id, upload in case.uploads.items():
        if upload.outcome != "ok":
            continue
        asset = case.assets.get(asset_id)
        if asset is None:
            yield asset_id, f"the upload of {upload.sample} was acknowledged; its asset is gone"
        elif asset["status"] not in GONE | {"expired"}:
            yield from _is_stored(asset_id, upload, case.originals.get(asset_id))
            if asset["status"] in ENDED:
                yield from _is_recorded(asset_id, upload, case.file(asset_id, "original"))


def _is_stored(asset_id: str, upload: Entry, found: Found | None) -> Findings:
    if found is None:
        yield asset_id, f"the upload of {upload.sample} was acknowledged, but is not stored"
    elif upload.size is not None and found.size != upload.size:
        yield asset_id, f"{found.key} has {found.size} bytes; {upload.size} were uploaded"
    elif upload.md5 and _MD5.fullmatch(found.etag) and found.etag != upload.md5:
        yield asset_id, f"{found.key} is not what was uploaded: {found.etag} != {upload.md5}"


def _is_recorded(asset_id: str, upload: Entry, file: Mapping[str, Any] | None) -> Findings:
    if file is None:
        yield asset_id, f"the upload of {upload.sample} was acknowledged, but is not recorded"
        return
    found = _ORIGINAL.fullmatch(file["key"])
    # It may move between the two places while evidence is taken.
    if found is None or found["asset"] != asset_id:
        yield asset_id, f"{file['key']} is not the key of this asset's upload"
    if upload.size is not None and file["size"] != upload.size:
        yield asset_id, f"{file['size']} bytes are recorded; {upload.size} were uploaded"


def uploads_end_once(case: Case) -> Findings:
    """I2: every acknowledged upload ends, each attempt once, and Kafka tells it as it is."""
    for asset_id, asset in case.assets.items():
        status, upload = asset["status"], case.uploads.get(asset_id)
        acknowledged = upload is not None and upload.outcome == "ok"
        if status in GONE:
            if asset_id not in case.withdrawn:
                yield asset_id, f"is {status}, though no client asked for it"
        elif status not in ENDED and acknowledged:
            yield asset_id, f"the upload was acknowledged; the asset is {status}"
        elif status == "processing" or (status == "pending" and asset_id in case.originals):
            yield asset_id, f"its file is stored; the asset is {status}"
        yield from _attempts(case, asset_id, asset)
        yield from _status_told(case, asset_id)


def _attempts(case: Case, asset_id: str, asset: Mapping[str, Any]) -> Findings:
    ends = case.ended_attempts(asset_id)
    for attempt in range(1, asset["attempt"] + 1):
        found = ends.get(attempt, [])
        is_last = attempt == asset["attempt"]
        must_end = not is_last or asset["status"] in ENDED
        if len(found) > 1 or (must_end and not found):
            yield asset_id, f"attempt {attempt} ended {len(found)} times: {found}"
        elif found and is_last and asset["status"] in ENDED - set(found):
            yield asset_id, f"attempt {attempt} ended as {found[0]}, its row says {asset['status']}"
        elif found and not is_last and found != ["failed"]:
            yield asset_id, f"attempt {attempt} ended as {found[0]}, yet another one began"
        else:
            yield from _published(case, asset, attempt, found)
    for attempt in ends.keys() - range(1, asset["attempt"] + 1):
        yield asset_id, f"attempt {attempt} ended, but there was none"


def _published(case: Case, asset: Mapping[str, Any], attempt: int, ends: list[str]) -> Findings:
    asset_id = asset["id"]
    told = case.processed(asset_id, attempt)
    if len(told) != len(ends):
        yield (
            asset_id,
            f"attempt {attempt}: Kafka tells {len(told)} outcomes for {len(ends)} ends: {[*told]}",
        )
    elif told:
        (data,) = told.values()
        if data["outcome"] != ends[0]:
            yield asset_id, f"attempt {attempt} {ends[0]}, but Kafka says {data['outcome']}"
        elif attempt == asset["attempt"] and asset["status"] in ENDED:
            yield from _agrees(case, asset, data)


def _agrees(case: Case, asset: Mapping[str, Any], data: Mapping[str, Any]) -> Findings:
    asset_id = asset["id"]
    if asset["status"] != "ready":
        told = (data.get("error") or {}).get("code")
        if told != asset["error_code"]:
            yield asset_id, f"error_code is {asset['error_code']}, but Kafka says {told}"
        return
    outputs = [
        file
        for file in case.recorded_outputs(asset_id)
        if file["attempt"] == asset["attempt"] and file["kind"] != "segment"
    ]
    pairs = {
        "rendition": (_facts(case.file(asset_id, "video", "image")), _facts(data.get("rendition"))),
        "thumbnail": (_facts(case.file(asset_id, "thumbnail")), _facts(data.get("thumbnail"))),
        "files": tuple(
            {file["name"]: _facts(file) for file in some}
            for some in (outputs, data.get("files") or ())
        ),
    }
    for part, (recorded, told) in pairs.items():
        if told != recorded:
            yield asset_id, f"{part} is {recorded}, but Kafka says {told}"


def _facts(file: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    return tuple(file.get(fact) for fact in _FACTS) if file else None


def _status_told(case: Case, asset_id: str) -> Findings:
    messages = case.events.get((asset_id, STATUS_CHANGED), ())
    told = {
        message.event["id"]: (message.event["data"]["attempt"], message.event["data"]["status"])
        for message in messages
        if message.event["data"].get("previousStatus")
    }
    changes = Counter(
        (row["attempt"], row["to_status"])
        for row in case.transitions.get(asset_id, ())
        if row["from_status"] is not None
    )
    events = Counter(told.values())
    # A status that is not told is told to no client either; an end told twice is two ends.
    for change in changes.keys() | events.keys():
        if changes[change] != events[change]:
            counts = f"{changes[change]} times, told {events[change]} times"
            yield asset_id, f"attempt {change[0]} became {change[1]} {counts}"


def files_end_rightly(case: Case) -> Findings:
    """I3: good files are ready, bad ones failed for their own reason."""
    for asset_id, upload in case.uploads.items():
        asset = case.assets.get(asset_id)
        if asset is None or asset["status"] not in ENDED or upload.expect is None:
            continue
        became = READY if asset["status"] == "ready" else asset["error_code"]
        if became != upload.expect:
            why = f" ({asset['error_message']})" if asset.get("error_message") else ""
            yield asset_id, f"{upload.sample}: {became}{why}, not {upload.expect}"


def outputs_are_whole(case: Case, *, garbage_allowed: bool) -> Findings:
    """I4: what a ready asset refers to is whole, and of the right attempt and worker."""
    stored = {(found.bucket, found.key): found for _, found in case.outputs}
    for asset_id, asset in case.assets.items():
        outputs = case.recorded_outputs(asset_id)
        if asset["status"] == "ready":
            kind = asset["content_type"].partition("/")[0]
            kinds = {"audio"} if kind == "audio" else {kind, "thumbnail"}
            for kind in sorted(kinds - {file["kind"] for file in outputs}):
                yield asset_id, f"is ready without its {kind}"
            for problem in chain(_not_done(case, asset), _streams_end(outputs)):
                yield asset_id, problem
            for file in outputs:
                yield from _is_whole(case, asset, file, stored)
                for problem in _origin(case, asset, file):
                    yield asset_id, problem
        for file in _outlived(asset, case.files.get(asset_id, ())):
            yield asset_id, f"is {asset['status']}, but {file['key']} is recorded as its own"
    if not garbage_allowed:
        for asset_id, found in case.garbage():
            yield asset_id, f"{found.key} is left, and nothing refers to it"


def _streams_end(outputs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Tell of each size of a stream whether it is there from its beginning to its end."""
    tracks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for file in outputs:
        if file["kind"] == "segment" and file["track"] not in {"early", "tiles"}:
            tracks.setdefault((file["stream"], file["track"]), []).append(file)
    played = [file for file in outputs if file["kind"] in {"video", "audio"}]
    lasts = {file["name"]: file["duration_seconds"] for file in played}
    for (stream, track), parts in tracks.items():
        if sorted(one["part"] for one in parts) != list(range(len(parts))):
            yield f"{stream} {track} has a gap"
        seconds = sum(one["duration_seconds"] for one in parts)
        if abs(seconds - (lasts.get(stream) or 0)) > _SECONDS_OFF:
            yield f"{stream} {track} lasts {seconds} s, and the file {lasts.get(stream)}"
    for stream in {name for name, _ in tracks} ^ set(lasts):
        yield f"{stream} is no stream and a file"


def _outlived(
    asset: Mapping[str, Any], files: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield the files that should have gone as their asset ended."""
    kept = {"failed": {"original"}}
    kept |= dict.fromkeys(GONE, {"thumbnail"} if asset["retired"] else set())
    for file in files:
        if asset["status"] in kept and file["kind"] not in kept[asset["status"]]:
            yield file


def _is_whole(
    case: Case,
    asset: Mapping[str, Any],
    file: Mapping[str, Any],
    stored: Mapping[tuple[str, str], Found],
) -> Findings:
    asset_id, key = asset["id"], file["key"]
    if (asset["bucket"], key) not in stored:
        yield asset_id, f"{file['name']} {key} is not stored"
    else:
        decoded = case.evidence.decoded.get(key, Decoded(problem="was not looked at"))
        if decoded.problem:
            yield asset_id, f"{key} cannot be decoded: {decoded.problem}"
            return
        for problem in _as_recorded(file, decoded):
            yield asset_id, f"{key}: {problem}"


def _as_recorded(file: Mapping[str, Any], decoded: Decoded) -> Iterator[str]:
    size = (decoded.width, decoded.height)
    if file["size"] != decoded.size:
        yield f"has {decoded.size} bytes, recorded are {file['size']}"
    if file["kind"] == "thumbnail" and size != THUMBNAIL_SIZE:
        yield f"measures {size}, not {THUMBNAIL_SIZE}"
    if size != (file["width"], file["height"]):
        yield f"measures {size}, recorded is {(file['width'], file['height'])}"
    seconds = file["duration_seconds"]
    if decoded.seconds is not None and abs((seconds or 0) - decoded.seconds) > _SECONDS_OFF:
        yield f"lasts {decoded.seconds} s, recorded are {seconds}"


def _not_done(case: Case, asset: Mapping[str, Any]) -> Iterator[str]:
    tasks = case.tasks.get((asset["id"], asset["attempt"]), {})
    if not tasks:
        yield "is ready, but its attempt had no tasks"
    for task in tasks.values():
        if task["required"] and task["state"] != "done":
            yield f"is ready, but its task {task['name']} is {task['state']}"


def _origin(case: Case, asset: Mapping[str, Any], file: dict[str, Any]) -> Iterator[str]:
    """Tell whether a file is of the asset's own attempt and of the claim that ended its task."""
    name, key = file["name"], file["key"]
    found = _OUTPUT.fullmatch(key)
    if found is None or found["asset"] != asset["id"]:
        yield f"{name} {key} is not the key of an output of this asset"
        return
    if {int(found["attempt"]), file["attempt"]} != {asset["attempt"]}:
        yield f"{name} {key} of attempt {file['attempt']} is not of attempt {asset['attempt']}"
        return
    task = case.maker(file)
    if task is None:
        yield f"{name} {key} was made by no task"
    else:
        yield from _fence(file, found["fence"], task)


def _fence(file: Mapping[str, Any], in_key: str | None, task: Mapping[str, Any]) -> Iterator[str]:
    """
    Tell whether a file is of the claim that ended its task: none comes after it.

    Keys of pictures carry no fence, because any answer's are the same.
    """
    what = f"{file['name']} {file['key']}"
    if in_key is None and file["kind"] in {"video", "segment"}:
        yield f"{what} carries no fence"
    for fence in {file["fence"], int(in_key) if in_key else file["fence"]} - {task["fence"]}:
        yield f"{what} is of claim {fence}; that of its task {task['name']} is {task['fence']}"


def stack_is_at_rest(case: Case, planted: int) -> Findings:
    """I5: nothing is left to do or to clean up, and dead letters are the planted ones."""
    evidence = case.evidence
    rests = [entry for entry in evidence.journal if entry.op == "quiesce"]
    if rests and rests[-1].outcome != "ok":
        yield None, f"did not come to rest {rests[-1].detail}"
    for record in evidence.outbox:
        yield record["key"], f"outbox of {record['producer']} holds a record for {record['topic']}"
    for task in evidence.tasks:
        yield from _task_at_rest(case, task)
    for line in evidence.processes:
        yield None, f"still runs: {line[:300]}"
    for name in evidence.scratch:
        yield None, f"left in scratch: {name}"
    for name, count in evidence.lag.items():
        if count:
            yield None, f"{name} lags by {count}"
    letters = case.dead_letters()
    if len(letters) != planted:
        told = Counter((letter.topic, letter.headers.get("dlq-message")) for letter in letters)
        yield None, f"{len(letters)} dead letters, {planted} were planted: {dict(told)}"


def _task_at_rest(case: Case, task: Mapping[str, Any]) -> Findings:
    asset_id, lease = task["asset_id"], task["lease_until"]
    asset = case.assets.get(asset_id)
    if task["state"] not in _OPEN or asset is None:
        return
    what = f"task {task['id']}, {task['name']},"
    if asset["status"] in ENDED | GONE or task["attempt"] != asset["attempt"]:
        yield asset_id, f"the asset is {asset['status']}, its {what} is {task['state']}"
    elif task["state"] == "running" and lease is not None and lease < case.evidence.taken_at:
        yield asset_id, f"{what} runs, but its lease ended at {lease}"
    elif task["state"] == "blocked" and not _waits_for(case, task):
        yield asset_id, f"{what} waits for nothing that would go on"


def _waits_for(case: Case, task: Mapping[str, Any]) -> bool:
    others = case.tasks.get((task["asset_id"], task["attempt"]), {}).values()
    return any(other["state"] in {"queued", "running"} for other in others)


def companies_are_apart(case: Case) -> Findings:
    """I6: nothing of one company reaches another."""
    for asset_id, asset in case.assets.items():
        yield from _row_apart(case, asset_id, asset)
    for table in ("transitions", "tasks", "files"):
        for row in getattr(case.evidence, table):
            owner = case.owners.get(row["asset_id"])
            if row["company_id"] != owner:
                yield row["asset_id"], f"{table} name company {row['company_id']}, not {owner}"
            if not row.get("key", f"{owner}/").startswith(f"{owner}/"):
                yield row["asset_id"], f"{row['name']} {row['key']} is not of company {owner}"
    for found in case.evidence.objects:
        yield from _object_apart(case, found)
    yield from _told_apart(case)


def _told_apart(case: Case) -> Findings:
    for message in case.evidence.messages:
        event = message.event
        owner = case.owners.get(str(event.get("subject")))
        if owner is not None and event.get("companyid") != owner:
            yield event["subject"], f"{message.topic} names {event.get('companyid')}, not {owner}"
    for heard in case.evidence.heard:
        owner = case.owners.get(heard.asset_id or "", heard.event_company)
        if heard.asset_id and {heard.event_company, owner} != {heard.company}:
            yield heard.asset_id, f"company {heard.company} heard {heard.kind} of {owner}'s asset"


def _row_apart(case: Case, asset_id: str, asset: Mapping[str, Any]) -> Findings:
    company, owner = asset["company_id"], case.owners[asset_id]
    if company != owner:
        yield asset_id, f"its row names company {company}, but {owner} signed it"
    if not asset["bucket"].endswith(company):
        yield asset_id, f"lies in {asset['bucket']}, which is not company {company}'s"


def _object_apart(case: Case, found: Found) -> Findings:
    parts = found.key.split("/")
    asset_id = parts[2] if len(parts) > 2 else None
    owner = case.owners.get(asset_id or "", parts[0])
    if not found.bucket.endswith(parts[0]) or parts[0] != owner:
        yield asset_id, f"{found.key} of company {owner} lies in {found.bucket}"


def clients_are_told(case: Case) -> Findings:
    """I7: every client that listened learned how its assets ended."""
    listened = {
        entry.company: entry.at
        for entry in reversed(case.evidence.journal)
        if entry.op == "subscribe"
    }
    heard: dict[tuple[str, str], list[Heard]] = grouped(
        case.evidence.heard, lambda one: (one.company, one.asset_id)
    )
    for asset_id, asset in case.assets.items():
        company, status = case.owners[asset_id], asset["status"]
        # Who came later was told of nothing that had happened before.
        since = listened.get(company, float("inf"))
        if status not in ENDED or _began(case, asset_id) < since:
            continue
        told = {
            one.kind
            for one in heard.get((company, asset_id), ())
            if one.what == status and one.attempt in {None, asset["attempt"]}
        }
        missing = {"media_status", "media_processed"} - told
        if missing and "read" not in told:
            yield asset_id, f"its client was not told by {sorted(missing)} that it is {status}"


def _began(case: Case, asset_id: str) -> float:
    signed = (e.at for e in case.evidence.journal if e.op == "sign" and e.asset_id == asset_id)
    return next(signed, 0.0)
