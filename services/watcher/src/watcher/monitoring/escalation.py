"""Escalation: which pages have lasted for so long that the log says it again, louder."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from uuid import UUID

from watcher.monitoring.findings import Finding, Kind, Severity
from watcher.settings import EscalationSettings

_ROUNDS_MISSED = 5


class Escalation:
    """
    Remembers since when each page has been found, round after round.

    A replica that has not looked for several rounds begins again, since another one may have
    seen the end. What rows tell (``Finding.lasts_seconds``) needs no memory: it holds after a
    restart, and for a single look.
    """

    def __init__(
        self, settings: EscalationSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_seconds = settings.escalate_after_seconds
        self._forget_seconds = _ROUNDS_MISSED * settings.watch_interval_seconds
        self._clock = clock
        self._looked_at = clock()
        self._since: dict[tuple[Kind, UUID], float] = {}

    def lasting(
        self, findings: Sequence[Finding], unknown: Collection[Kind]
    ) -> Iterator[tuple[Finding, float]]:
        """
        Yield the pages that have lasted for the settings' time, and for how many seconds.

        Kinds that are *unknown*, as nobody could look, are as they were.
        """
        now = self._clock()
        is_stale = now - self._looked_at > self._forget_seconds
        self._looked_at = now
        known = {} if is_stale else self._since
        self._since = {key: since for key, since in known.items() if key[0] in unknown}
        for finding in findings:
            if finding.severity is not Severity.PAGE:
                continue
            key = finding.kind, finding.company_id
            since = min(known.get(key, now), now - finding.lasts_seconds)
            self._since[key] = since
            if now - since >= self._after_seconds:
                yield finding, now - since
