"""Faults on a running stack, load through it, and a judge of what is left."""
