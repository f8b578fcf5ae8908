"""Every instrument of the sign API, besides those of media_runtime."""

from __future__ import annotations

from prometheus_client import Counter

GRANTS = Counter("sign_api_grants_total", "Upload grants given.", ["kind"])
REFUSED = Counter(
    "sign_api_refused_total", "Grants refused for a limit of their company.", ["limit"]
)
