"""What is stored is hashed while it is read, once."""

from __future__ import annotations

import hashlib
import os

from media_runtime.storage.store import _Hashed
from minio.helpers import read_part_data


def test_a_file_is_hashed_as_the_client_reads_its_parts(tmp_path):
    path, data = tmp_path / "file", os.urandom(300_000)
    path.write_bytes(data)
    with path.open("rb") as file:
        hashed = _Hashed(file)
        parts = [read_part_data(hashed, 100_000) for _ in range(4)]
    assert b"".join(parts) == data
    assert hashed.sha256 == hashlib.sha256(data).hexdigest()
