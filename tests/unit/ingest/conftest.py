"""What is collected here."""

import os

# Files that are no part of this repository.
collect_ignore = [] if "CASES" in os.environ else ["test_case_files.py"]
