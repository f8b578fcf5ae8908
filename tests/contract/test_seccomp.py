"""The seccomp profile of containers with sandboxes: what it lets them call, and no more."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROFILE = json.loads((ROOT / "deploy" / "seccomp" / "sandbox.json").read_text())
# Neither bubblewrap nor anything in it needs these, and each had its holes.
REFUSED = {
    "add_key", "bpf", "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen",
    "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_load", "keyctl",
    "mount_setattr", "move_mount", "name_to_handle_at", "open_by_handle_at", "open_tree",
    "perf_event_open", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace", "reboot",
    "request_key", "setns", "swapon", "userfaultfd",
}  # fmt: skip


def test_all_is_refused_but_what_is_listed():
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    # Engines before 23 do not know defaultErrnoRet. Where clone3 is not permitted, instead of not
    # implemented, glibc starts no thread.
    refused = [rule for rule in PROFILE["syscalls"] if rule["action"] != "SCMP_ACT_ALLOW"]
    assert [(rule["action"], rule["errnoRet"], rule["names"]) for rule in refused] == [
        ("SCMP_ACT_ERRNO", 38, ["clone3"])
    ]
    allowed = [rule for rule in PROFILE["syscalls"] if rule not in refused]
    without_conditions = Counter(
        name for rule in allowed if "args" not in rule for name in rule["names"]
    )
    assert "clone3" not in without_conditions
    assert max(without_conditions.values()) == 1
    assert {"clone", "unshare", "mount", "umount2", "pivot_root"} <= set(without_conditions)
    assert not REFUSED & set(without_conditions)
    assert "socket" not in without_conditions


def test_containers_that_sandbox_have_it_and_no_others():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    found = {
        name: option.partition("=")[2]
        for name, service in services.items()
        for option in service.get("security_opt", [])
        if option.startswith("seccomp=")
    }
    assert found == dict.fromkeys(("ingest", "thumbnailer"), "deploy/seccomp/sandbox.json")
