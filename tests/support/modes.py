"""What other users of the machine could read of a directory."""

from __future__ import annotations

import stat
from pathlib import Path


def readable_by_others(directory: Path) -> list[Path]:
    """Return what in *directory* other users could list or open, itself included."""
    mode = directory.lstat().st_mode
    found = [directory] if mode & stat.S_IROTH else []
    if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
        for entry in directory.iterdir():
            if not entry.is_symlink():
                found += readable_by_others(entry)
    return found
