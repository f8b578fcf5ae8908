"""What the running system exports is what deploy/metrics.md says."""

from __future__ import annotations

import httpx
import pytest
from mediactl.metrics_table import instruments
from mediactl.services import SERVICES
from prometheus_client.parser import text_string_to_metric_families

from support.eventually import eventually
from support.surroundings import variable

# Of libraries: the process, Python, and FastStream's consumers.
FOREIGN = ("python_", "process_", "faststream_")


def exported(service):
    """Return name, type and labels of what a service exports now."""
    answer = httpx.get(variable(f"{service.upper()}_METRICS_URL"), trust_env=False)
    found = {}
    for family in text_string_to_metric_families(answer.text):
        if family.name.startswith(FOREIGN) or family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_exports_what_the_table_says_and_nothing_else(service):
    documented = {one.name: one for one in instruments()}
    own = {one.name for one in instruments() if one.service == service}
    shared = {one.name for one in instruments() if one.service not in SERVICES}

    def look():
        found = exported(service)
        assert own <= found.keys(), own - found.keys()
        return found

    # The watcher exports what it saw while it acts.
    found = await eventually(look, timeout=20)
    for name, (kind, labels) in found.items():
        assert name in documented, name
        assert name in own or name in shared, name
        assert kind == documented[name].kind, name
        assert labels <= set(documented[name].labels), name
