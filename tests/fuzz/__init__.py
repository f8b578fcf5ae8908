"""Honest files with a few bytes changed: each gets an answer with a code, and nothing crashes."""
