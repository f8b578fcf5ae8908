"""Checks, transcodes, and joins the results of uploads."""
