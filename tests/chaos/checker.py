"""
The judge of a run: which of the pipeline's invariants its evidence breaks.

Invariant: a verdict follows from the evidence alone.

I1 every stored upload has its asset, every acknowledged upload is stored
I2 every acknowledged upload ends, each attempt once, and Kafka tells it as it is
I3 good files are ready, bad ones failed for their own reason
I4 what a ready asset refers to is there, whole, and of the right attempt and worker
I5 nothing is left to do, no process and no file is left, dead letters are the planted ones
I6 nothing of one company reaches another
I7 every subscribed client learned how its assets ended
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos import invariants
from chaos.case import Case
from chaos.evidence import Evidence

INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, with what shows it."""

    invariant: str
    asset_id: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.asset_id or '-'}: {self.text}"


@dataclass
class Verdict:
    """What was broken, and what was counted on the way."""

    violations: list[Violation] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    @property
    def broken(self) -> set[str]:
        """The invariants that are violated."""
        return {violation.invariant for violation in self.violations}

    def __str__(self) -> str:
        lines = [str(violation) for violation in self.violations] or ["all invariants kept"]
        return "\n".join([*lines, str(self.counters)])


def judge(
    evidence: Evidence,
    *,
    planted_dead_letters: int = 0,
    garbage_allowed: bool = True,
    clients_listened: bool = True,
) -> Verdict:
    """
    Return the verdict on *evidence*.

    *planted_dead_letters* is how many poisonous records were planted. *garbage_allowed* is
    false once the watcher has swept: then no unreferenced output may be left.
    *clients_listened* is false where a scenario kept its subscribers from listening.
    """
    case = Case(evidence)
    checks: dict[str, invariants.Findings] = {
        "I1": invariants.uploads_are_stored(case),
        "I2": invariants.uploads_end_once(case),
        "I3": invariants.files_end_rightly(case),
        "I4": invariants.outputs_are_whole(case, garbage_allowed=garbage_allowed),
        "I5": invariants.stack_is_at_rest(case, planted_dead_letters),
        "I6": invariants.companies_are_apart(case),
        "I7": invariants.clients_are_told(case) if clients_listened else iter(()),
    }
    violations = [
        Violation(invariant, asset_id, text)
        for invariant, found in checks.items()
        for asset_id, text in found
    ]
    return Verdict(violations, _counters(case))


def _counters(case: Case) -> dict[str, int]:
    evidence = case.evidence
    statuses = Counter(asset["status"] for asset in evidence.assets)
    by_id = Counter(
        (message.topic, message.event["id"])
        for message in evidence.messages
        if "id" in message.event
    )
    heard = Counter((one.company, one.event_id) for one in evidence.heard if one.event_id)
    kinds = Counter(one.kind for one in evidence.heard)
    operations = Counter(f"{entry.op}_{entry.outcome}" for entry in evidence.journal)
    return {
        **{name: operations[name] for name in sorted(operations)},
        "retried_operations": sum(
            entry.tries > 1 for entry in evidence.journal if entry.op in {"sign", "upload"}
        ),
        **{f"assets_{status}": count for status, count in sorted(statuses.items())},
        "objects": len(evidence.objects),
        "versions_absorbed": sum(max(0, one.versions - 1) for one in case.originals.values()),
        "garbage": sum(1 for _ in case.garbage()),
        "messages": len(evidence.messages),
        "wire_duplicates": sum(count - 1 for count in by_id.values()),
        "stale_results": _stale_results(case),
        **_claimed_again(evidence.tasks),
        "dead_letters": len(case.dead_letters()),
        "dead_letter_duplicates": len(evidence.dead_letters) - len(case.dead_letters()),
        "events_heard": sum(heard.values()),
        "events_heard_again": sum(count - 1 for count in heard.values()),
        "connections": kinds["media_hello"],
        "resyncs": kinds["media_resync"],
        "positions_refused": kinds["refused"],
    }


def _claimed_again(tasks: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    again = Counter(task["pool"] == "pictures" for task in tasks if task["fence"] > 1)
    return {"tasks_taken_over": again[False], "pictures_asked_again": again[True]}


def _stale_results(case: Case) -> int:
    """Return how many distinct answers of the thumbnailer came to a task that had one."""
    answers = {
        (*_asked(message.event), message.event["id"])
        for message in case.evidence.messages
        if message.topic == "media_thumbnailed" and {"id", "data"} <= message.event.keys()
    }
    return len(answers) - len({answer[:-1] for answer in answers})


def _asked(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    data = answer["data"]
    return answer["subject"], data.get("attempt"), data.get("task")
