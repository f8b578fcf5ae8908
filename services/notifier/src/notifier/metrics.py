"""Every instrument of the notifier."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CLIENTS = Gauge("notifier_clients", "Open event streams.")
STREAMS = Counter(
    "notifier_streams_total",
    "Event streams opened, by where they began: live, memory, log, or resync.",
    ["start"],
)
DELIVERED = Counter("notifier_events_delivered_total", "Events put into streams.", ["event"])
FANOUT_SECONDS = Histogram(
    "notifier_fanout_delay_seconds",
    "Time from an event to its place in every stream.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
SLOW_CLIENTS = Counter(
    "notifier_slow_clients_dropped_total", "Streams ended because nobody read them fast enough."
)
MALFORMED = Counter("notifier_malformed_total", "Records that are no event.", ["topic"])
BEHIND = Gauge("notifier_log_lag_records", "Records that are in the log and not yet read.")
RESTARTS = Counter("notifier_log_restarts_total", "Times that reading the log broke off.")
LINKS_ENDED = Counter("notifier_links_ended_total", "Deleted assets whose links edges refuse.")
WEBHOOKS = Counter(
    "notifier_webhooks_total",
    "Tries to deliver an event to an endpoint: taken, or refused.",
    ["outcome"],
)
WEBHOOK_SECONDS = Histogram(
    "notifier_webhook_seconds",
    "Time that endpoints took to answer.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
