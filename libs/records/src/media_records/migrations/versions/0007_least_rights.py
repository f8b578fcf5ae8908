"""
Rights that services need, and no others: buckets are made on the watcher's side.

sign_api says which company wants one, and may no longer write what a company is. A relay meets
the records of its own service, and what lapses is deleted by the watcher alone.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OWN_COMPANY = "company_id = NULLIF(current_setting('app.company_id', true), '')::uuid"
_PRODUCERS = ("sign_api", "ingest", "watcher")
# The relay's role is shared, and whoever takes it keeps the name of its login.
_OWN_RECORDS = " OR ".join(
    f"(producer = '{name}' AND pg_has_role(session_user, 'media_{name}', 'MEMBER'))"
    for name in _PRODUCERS
)
_LAPSING = ("event_tickets", "idempotency_keys")

_UPGRADE = (
    """
    CREATE TABLE wanted_buckets (
        company_id uuid PRIMARY KEY,
        wanted_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX wanted_buckets_age ON wanted_buckets (wanted_at)",
    "ALTER TABLE wanted_buckets ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE wanted_buckets FORCE ROW LEVEL SECURITY",
    "GRANT INSERT ON wanted_buckets TO media_sign_api",
    (
        "CREATE POLICY own_company ON wanted_buckets TO media_sign_api"
        f" USING ({_OWN_COMPANY}) WITH CHECK ({_OWN_COMPANY})"
    ),
    "GRANT SELECT, DELETE ON wanted_buckets TO media_watcher",
    "CREATE POLICY watcher ON wanted_buckets TO media_watcher USING (true) WITH CHECK (true)",
    "REVOKE INSERT, UPDATE ON companies FROM media_sign_api",
    "GRANT INSERT ON companies TO media_watcher",
    "REVOKE UPDATE ON idempotency_keys FROM media_sign_api",
    *(
        statement
        for table in _LAPSING
        for statement in (
            f"REVOKE ALL ON {table} FROM media_internal",
            f"GRANT SELECT, DELETE ON {table} TO media_watcher",
            f"ALTER POLICY internal ON {table} RENAME TO watcher",
            f"ALTER POLICY watcher ON {table} TO media_watcher",
        )
    ),
    "REVOKE SELECT ON outbox FROM media_internal",
    "GRANT SELECT ON outbox TO media_watcher",
    f"ALTER POLICY relay ON outbox USING ({_OWN_RECORDS})",
)


def upgrade() -> None:
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("0007 narrows rights; restore a backup to go back")
