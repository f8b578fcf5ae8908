"""What is collected here."""

from support.media_files import CASES

# Files that are no part of this repository.
collect_ignore = [] if CASES.exists() else ["test_case_files.py"]
