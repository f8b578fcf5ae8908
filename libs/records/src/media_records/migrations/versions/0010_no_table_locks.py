"""
No service that clients reach can lock a table against the others.

PostgreSQL lets who may update, delete from or truncate a table lock it in any mode, and a
session may switch its own time-outs off. Rights on columns do not count for that: so services
update by columns, among which are none that say whose a row is, and what they delete goes
through functions of the owner, each for its one purpose. The watcher alone deletes by itself.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_OWN_COMPANY = "company_id = NULLIF(current_setting('app.company_id', true), '')::uuid"
# A column that a later migration adds needs a right of its own.
_COLUMNS = """
    DO $do$ BEGIN
        EXECUTE (SELECT format('GRANT UPDATE (%s) ON {table} TO {roles}',
                               string_agg(quote_ident(attname), ', '))
            FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0
            AND NOT attisdropped AND attname NOT IN ({fixed}));
    END $do$
"""
_UPDATED = {
    "media_assets": ("media_sign_api, media_internal", "'id', 'company_id', 'created_at'"),
    "company_usage": ("media_sign_api, media_internal", "'company_id', 'slot'"),
    "ingest_jobs": ("media_internal", "'id', 'company_id', 'asset_id', 'attempt', 'created_at'"),
}
_SIGN_ASSET = """
CREATE OR REPLACE FUNCTION sign_asset(
    p_company uuid, p_asset uuid, p_file_name text, p_content_type text, p_size bigint,
    p_bucket text, p_upload_key text, p_expires timestamptz, p_traceparent text,
    p_key text, p_hash text, p_response text, p_max_grants bigint DEFAULT NULL,
    OUT request_hash text, OUT response text, OUT refused text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    quota bigint;
    used bigint;
    grants bigint;
BEGIN
    PERFORM set_config('app.company_id', p_company::text, true);
    IF p_key IS NOT NULL THEN
        PERFORM forget_lapsed_key(p_company, p_key);
        PERFORM pg_advisory_xact_lock(hashtextextended(p_company::text || p_key, 0));
        SELECT k.request_hash, k.response INTO request_hash, response FROM idempotency_keys k
            WHERE k.company_id = p_company AND k.key = p_key;
        IF FOUND THEN RETURN; END IF;
    END IF;
    SELECT sum(u.bytes), sum(u.pending) INTO used, grants FROM company_usage u
        WHERE u.company_id = p_company;
    SELECT c.quota_bytes INTO quota FROM companies c WHERE c.company_id = p_company;
    IF used + p_size > quota OR p_size > quota THEN refused := 'quota_exceeded'; RETURN; END IF;
    IF grants >= p_max_grants THEN refused := 'too_many_open_grants'; RETURN; END IF;
    INSERT INTO media_assets (id, company_id, file_name, content_type, size, bucket, upload_key,
                              grant_expires_at, traceparent)
        VALUES (p_asset, p_company, p_file_name, p_content_type, p_size, p_bucket, p_upload_key,
                p_expires, p_traceparent);
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (company_id, key, request_hash, asset_id, response)
            VALUES (p_company, p_key, p_hash, p_asset, p_response);
    END IF;
END $$
"""
# The owner is bound by row-level security as well, and session_user stays that of the login.
_FUNCTIONS = (
    """
    CREATE FUNCTION forget_lapsed_key(p_company uuid, p_key text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DELETE FROM public.idempotency_keys WHERE company_id = p_company AND key = p_key
            AND created_at < now() - interval '24 hours'
    $$
    """,
    (
        "CREATE POLICY lapsed ON idempotency_keys TO media_owner"
        f" USING ({_OWN_COMPANY} AND created_at < now() - interval '24 hours')"
        " WITH CHECK (false)"
    ),
    """
    CREATE FUNCTION forget_relayed(p_ids bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DELETE FROM public.outbox WHERE id = ANY (p_ids)
    $$
    """,
    "ALTER POLICY relay ON outbox TO media_relay, media_owner WITH CHECK (false)",
    """
    CREATE FUNCTION redeem_ticket(
        p_hash text, OUT company_id uuid, OUT stream_until timestamptz, OUT valid boolean
    ) RETURNS SETOF record
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DELETE FROM public.event_tickets WHERE ticket_hash = p_hash
            RETURNING company_id, stream_until, expires_at > now()
    $$
    """,
    (
        "CREATE POLICY redeemed ON event_tickets TO media_owner"
        " USING (pg_has_role(session_user, 'media_notifier', 'MEMBER')) WITH CHECK (false)"
    ),
)
_CALLERS = {
    "forget_lapsed_key(uuid, text)": "media_sign_api",
    "forget_relayed(bigint[])": "media_relay",
    "redeem_ticket(text)": "media_notifier",
}
_REVOKED = (
    "REVOKE DELETE ON idempotency_keys FROM media_sign_api",
    "REVOKE DELETE ON outbox FROM media_relay",
    "REVOKE DELETE ON event_tickets FROM media_notifier",
    # Nobody deletes these: they go with their asset.
    "REVOKE DELETE ON asset_results, ingest_jobs FROM media_internal",
)


def upgrade() -> None:
    for table, (roles, fixed) in _UPDATED.items():
        op.execute(f"REVOKE UPDATE ON {table} FROM {roles}")
        op.execute(_COLUMNS.format(table=table, roles=roles, fixed=fixed))
    for statement in (*_FUNCTIONS, _SIGN_ASSET, *_REVOKED):
        op.execute(statement)
    for function, caller in _CALLERS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {caller}")


def downgrade() -> None:
    raise NotImplementedError("0010 narrows rights; restore a backup to go back")
