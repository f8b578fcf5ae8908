"""Whose fault a failure is: most are the file's, some are ours, some nobody's."""

from __future__ import annotations

SYSTEM_FAULTS = frozenset({"object_missing", "processing_failed", "processing_timeout"})
"""
Codes of failures that a well-kept system would not have had; alerts count these alone.

No file may cause one at will: whoever uploads would wake whoever is on call.
"""

NO_FAULT_OF_THE_FILE = frozenset({"object_missing", "processing_timeout", "quota_exceeded"})
"""Codes after which nothing speaks against the file: a retry can make it ready."""
