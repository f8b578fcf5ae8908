"""Tells ops about backlog and failures, and cleans up."""
