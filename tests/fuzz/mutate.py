"""Changes to files, each chosen by a generator of random numbers alone."""

from __future__ import annotations

import random
import struct

_ODD_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_CHANGES = 8
_HEAD_BYTES = 1024


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return *data* with a few changes; *other* is a file of the same kind to take pieces of."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        if not changed:
            break
        rng.choice(_CHANGES)(changed, other, rng)
    return bytes(changed)


def _place(changed: bytearray, rng: random.Random) -> int:
    # Headers are a small part of a file, and most of what is read of it.
    near = min(len(changed), _HEAD_BYTES) if rng.random() < 0.5 else len(changed)
    return rng.randrange(max(1, near))


def _flip(changed: bytearray, _: bytes, rng: random.Random) -> None:
    changed[_place(changed, rng) % len(changed)] ^= 1 << rng.randrange(8)


def _odd_number(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at, form = _place(changed, rng), rng.choice((">B", ">H", "<H", ">I", "<I"))
    number = rng.choice(_ODD_NUMBERS) & (256 ** struct.calcsize(form) - 1)
    changed[at : at + struct.calcsize(form)] = struct.pack(form, number)


def _noise(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at, count = _place(changed, rng), rng.randint(1, 64)
    changed[at : at + count] = rng.randbytes(count)


def _cut(changed: bytearray, _: bytes, rng: random.Random) -> None:
    del changed[rng.randrange(len(changed)) :]


def _remove(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at = _place(changed, rng)
    del changed[at : at + rng.randint(1, 256)]


def _repeat(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at = _place(changed, rng)
    piece = changed[at : at + rng.randint(1, 1024)]
    changed[at:at] = piece * rng.choice((1, 1, 2, 16))


def _move(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at, count = _place(changed, rng), rng.randint(1, 512)
    piece = changed[at : at + count]
    del changed[at : at + count]
    to = rng.randrange(len(changed) + 1)
    changed[to:to] = piece


def _zero(changed: bytearray, _: bytes, rng: random.Random) -> None:
    at, count = _place(changed, rng), rng.randint(1, 512)
    changed[at : at + count] = bytes(len(changed[at : at + count]))


def _piece_of_another(changed: bytearray, other: bytes, rng: random.Random) -> None:
    start, count = rng.randrange(max(1, len(other))), rng.randint(1, 4096)
    at = _place(changed, rng)
    changed[at : at + count] = other[start : start + count]


_CHANGES = (
    *(_flip, _odd_number, _noise) * 2,
    *(_cut, _remove, _repeat, _move, _zero, _piece_of_another),
)
