"""Fixtures of the tests of the sign API."""

from support.company_fixtures import company, http, other_company, parts, rows

__all__ = ["company", "http", "other_company", "parts", "rows"]
