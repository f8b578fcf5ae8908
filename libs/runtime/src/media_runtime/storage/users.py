"""
Makes the object store's users: ``python -m media_runtime.storage.users``, once before services.

Each service logs in as a user of its own, with just its actions on just its prefixes. Their names
begin with the bucket prefix, so stacks that share a store share no user. This step alone uses the
administrator's login; repeating it changes nothing but a secret that is another one by now.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3
from media_runtime.catalog import METRICS, PROVISIONER, SERVICES, STORAGE_USERS, StorageRights
from media_runtime.settings import AdministratorSettings, StorageSettings, secrets_of
from media_runtime.storage.buckets import admin_client
from media_runtime.storage.metrics import metrics_token
from minio.error import MinioAdminException

_TRIES = 10
_TIMEOUT_SECONDS = 30.0

# A question mark is one character; an asterisk is any number, slashes among them.
_UUID = "-".join("?" * length for length in (8, 4, 4, 4, 12))

# Users of no service, or of several.
_RIGHTS: Mapping[str, StorageRights] = {
    # It serves files to clients; nobody may read originals through it.
    "edge": StorageRights(objects={"outputs": ("GetObject",)}),
    PROVISIONER: StorageRights(
        buckets=(
            *("CreateBucket", "GetBucketVersioning", "PutBucketVersioning"),
            *("GetBucketNotification", "PutBucketNotification"),
            *("GetLifecycleConfiguration", "PutLifecycleConfiguration"),
        ),
        administration=("GetBucketQuota", "SetBucketQuota"),
    ),
    METRICS: StorageRights(administration=("Prometheus",)),
}
# The store lets every user do these for itself unless told otherwise: a stolen login could change
# its secret, or leave another one behind that outlives a new secret.
_NOT_EVEN_FOR_ITSELF = ["admin:CreateServiceAccount", "admin:CreateUser"]


def access_key(bucket_prefix: str, user: str) -> str:
    """Return the name with which *user* logs in."""
    return f"{bucket_prefix}{user}"


def policy_of(user: str, bucket_prefix: str) -> dict[str, object]:
    """Return what *user* may do, as an IAM policy; what it does not name is refused."""
    rights = _rights_of(user)
    bucket = f"{bucket_prefix}{_UUID}"
    statements: list[dict[str, object]] = [{"Effect": "Deny", "Action": _NOT_EVEN_FOR_ITSELF}]
    for part, actions in rights.objects.items():
        statements.append(_allow(actions, f"{bucket}/{_UUID}/{part}/*"))
    if rights.buckets:
        statements.append(_allow(rights.buckets, f"{bucket}*"))
    if rights.administration:
        administration = [f"admin:{action}" for action in rights.administration]
        statements.append({"Effect": "Allow", "Action": administration})
    return {"Version": "2012-10-17", "Statement": statements}


def _rights_of(user: str) -> StorageRights:
    rights = _RIGHTS.get(user) or SERVICES[user].storage
    assert rights is not None  # noqa: S101 - STORAGE_USERS have them
    return rights


def _allow(actions: Sequence[str], resource: str) -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Action": [f"s3:{action}" for action in actions],
        "Resource": [f"arn:aws:s3:::{resource}"],
    }


def make_users(settings: StorageSettings, secrets: Mapping[str, str]) -> None:
    """Make the users of *secrets*, by name, with their policies; raises MinioAdminException."""
    with ThreadPoolExecutor(len(secrets)) as threads:
        list(threads.map(lambda user: _make_among_others(settings, user, secrets[user]), secrets))


def _make_among_others(settings: StorageSettings, user: str, secret: str) -> None:
    # Two stacks may make the same user at once, and the store then refuses one of them for now.
    for _ in range(_TRIES - 1):
        try:
            return _make(settings, user, secret)
        except MinioAdminException:
            time.sleep(0.2)
    return _make(settings, user, secret)


def _make(settings: StorageSettings, user: str, secret: str) -> None:
    admin = admin_client(settings, urllib3.PoolManager(timeout=_TIMEOUT_SECONDS))
    name = access_key(settings.s3_bucket_prefix, user)
    admin.policy_add(name, policy=policy_of(user, settings.s3_bucket_prefix))
    admin.user_add(name, secret)
    if json.loads(admin.user_info(name)).get("policyName") != name:
        admin.policy_set(name, user=name)


def write_metrics_token(settings: StorageSettings, secret: str, file: Path) -> None:
    """Have Prometheus find in *file* what it shows the store, as METRICS with this *secret*."""
    draft = file.with_name(f".{file.name}")
    draft.write_text(metrics_token(access_key(settings.s3_bucket_prefix, METRICS), secret))
    draft.chmod(0o644)  # in a directory that Prometheus, another user in a container, has alone
    draft.replace(file)


def main() -> None:
    """Make the users that the environment describes."""
    settings = AdministratorSettings()
    secrets = secrets_of(STORAGE_USERS, "S3_SECRET")
    make_users(settings, secrets)
    if settings.metrics_token_path:
        write_metrics_token(settings, secrets[METRICS], settings.metrics_token_path)
    names = ", ".join(access_key(settings.s3_bucket_prefix, user) for user in secrets)
    sys.stdout.write(f"storage users: {names}\n")


if __name__ == "__main__":
    main()
