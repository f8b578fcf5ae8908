"""Starts, stops and shows the media pipeline on one machine; no service imports it."""
