"""Fixtures of the tests of both HTTP services."""

from support.company_fixtures import company, http, other_company

__all__ = ["company", "http", "other_company"]
