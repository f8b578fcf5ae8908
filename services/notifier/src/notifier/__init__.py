"""Tells clients in real time what becomes of their files."""
