"""Fixtures of the tests of the edge: companies, and the stack behind it."""

from support.company_fixtures import company, http, other_company, parts, rows

__all__ = ["company", "http", "other_company", "parts", "rows"]
