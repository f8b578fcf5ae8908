"""PostgreSQL, and the outbox that lives in it."""
