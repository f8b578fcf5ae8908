"""
Which system calls a sandboxed program may make, as a filter of the kernel's (seccomp-bpf).

Decoders read, write, map memory and start threads. What is refused here is the kernel's surface
that they never need, and names in the folder that they write: no link, no pipe, no file that was
removed and still takes space.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator

# By name: the number on x86_64, and on aarch64 where it differs; 0 is none there.
_REFUSED: dict[str, tuple[int, ...]] = {
    # Other processes, and the kernel itself.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438,), "process_madvise": (440,), "bpf": (321, 280),
    "process_mrelease": (448,), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_enter": (426,), "io_uring_register": (427,), "seccomp": (317, 277),
    "personality": (135, 92), "modify_ldt": (154, 0), "ioperm": (173, 0), "iopl": (172, 0),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "quotactl": (179, 60), "quotactl_fd": (443,), "uselib": (134, 0), "vhangup": (153, 58),
    "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "vmsplice": (278, 75),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Namespaces and mounts.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428,), "move_mount": (429,),
    "fsopen": (430,), "fsconfig": (431,), "fsmount": (432,), "fspick": (433,),
    "mount_setattr": (442,),
    # Files by handle, and what watches them.
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    # Memory that no limit counts, and sockets.
    "memfd_create": (319, 279), "memfd_secret": (447,), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "socket": (41, 198),
    # Names.
    "unlink": (87, 0), "unlinkat": (263, 35), "rename": (82, 0), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, 0), "linkat": (265, 37), "symlink": (88, 0),
    "symlinkat": (266, 36), "mknod": (133, 0), "mknodat": (259, 33), "mkdir": (83, 0),
    "mkdirat": (258, 34), "rmdir": (84, 0), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
}  # fmt: skip
# These are probed for: whoever hears that the kernel has none takes the older call.
_UNKNOWN: dict[str, tuple[int, ...]] = {
    "clone3": (435,), "openat2": (437,), "io_uring_setup": (425,),
}  # fmt: skip
_NEWEST = 449
_NEW_NAMESPACE = 0x7E020000
_UNNAMED_FILE = 0x400000
_TERMINAL_INPUT, _TERMINAL_SELECTION = 0x5412, 0x541C
# Call, argument, and the bits or values that are refused in it.
_REFUSED_BITS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "clone": ((56, 220), 0, _NEW_NAMESPACE),
    "open": ((2, 0), 1, _UNNAMED_FILE),
    "openat": ((257, 56), 2, _UNNAMED_FILE),
}
_IOCTL = (16, 29)

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _RETURN, _EQUAL, _GREATER, _ANY_BIT = 0x20, 0x06, 0x15, 0x25, 0x45
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_Instruction = tuple[int, int, int, int]


def sandbox_filter(machine: str | None = None) -> bytes | None:
    """Return the filter for a kind of machine, this one by default; None where there is none."""
    found = _ARCHITECTURES.get(machine or platform.machine())
    if found is None:
        return None
    return b"".join(struct.pack("=HBBI", *one) for one in _program(*found))


def _program(column: int, architecture: int) -> Iterator[_Instruction]:
    yield _LOAD, 0, 0, _ARCHITECTURE_AT
    yield from _unless_equal(architecture, _KILL)
    yield _LOAD, 0, 0, _NUMBER_AT
    # Calls of the x32 ABI have numbers beyond all others.
    yield _GREATER, 0, 1, _NEWEST
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    for calls, error in ((_UNKNOWN, errno.ENOSYS), (_REFUSED, errno.EPERM)):
        for numbers in calls.values():
            if number := _on(column, numbers):
                yield _EQUAL, 0, 1, number
                yield _RETURN, 0, 0, _ERRNO | error
    for numbers, argument, bits in _REFUSED_BITS.values():
        if number := _on(column, numbers):
            yield _EQUAL, 0, 4, number
            yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument
            yield _ANY_BIT, 0, 1, bits
            yield _RETURN, 0, 0, _ERRNO | errno.EPERM
            yield _RETURN, 0, 0, _ALLOW
    yield _EQUAL, 0, 4, _on(column, _IOCTL)
    yield _LOAD, 0, 0, _ARGUMENTS_AT + 8
    yield _EQUAL, 1, 0, _TERMINAL_INPUT
    yield _EQUAL, 0, 1, _TERMINAL_SELECTION
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW


def _unless_equal(value: int, action: int) -> Iterator[_Instruction]:
    yield _EQUAL, 1, 0, value
    yield _RETURN, 0, 0, action


def _on(column: int, numbers: tuple[int, ...]) -> int:
    return numbers[min(column, len(numbers) - 1)]
