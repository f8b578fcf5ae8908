"""
Makes the object store's users: ``python -m media_runtime.storage_users``, once before services.

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
from media_runtime.bucket_setup import admin_client
from media_runtime.settings import AdministratorSettings
from media_runtime.storage_metrics import metrics_token
from minio.error import MinioAdminException

PROVISIONER = "provisioner"
METRICS = "metrics"
"""The user as which Prometheus reads the store's metrics."""
_TRIES = 10
_TIMEOUT_SECONDS = 30.0

# A question mark is one character; an asterisk is any number, slashes among them.
_UUID = "-".join("?" * length for length in (8, 4, 4, 4, 12))

_READ = ("s3:GetObject", "s3:GetObjectVersion")
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload")
_DELETE = ("s3:DeleteObject", "s3:DeleteObjectVersion")
_ORIGINALS = ("uploads", "quarantine")

# user: what it may do with objects, by the part of their key after the company
_OBJECTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    # What it signs, clients do in its name: upload originals.
    "sign_api": {"uploads": ("s3:PutObject",)},
    # It serves files to clients; nobody may read originals through it.
    "edge": {"outputs": ("s3:GetObject",)},
    "ingest": {**dict.fromkeys(_ORIGINALS, _READ), "outputs": (*_READ, *_WRITE)},
    "thumbnailer": {**dict.fromkeys(_ORIGINALS, _READ), "outputs": (*_READ, *_WRITE)},
    # It moves originals, and lists, looks and deletes everywhere.
    "watcher": {
        **dict.fromkeys(_ORIGINALS, (*_READ, *_WRITE, *_DELETE)),
        "outputs": (*_READ, *_DELETE, "s3:AbortMultipartUpload"),
    },
    PROVISIONER: {},
    METRICS: {},
}
USERS = tuple(_OBJECTS)
"""Every user, by the name of its service; the provisioner is the watcher's second one."""

_BUCKETS = {
    "watcher": ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"],
    PROVISIONER: [
        "s3:CreateBucket",
        "s3:GetBucketVersioning",
        "s3:PutBucketVersioning",
        "s3:GetBucketNotification",
        "s3:PutBucketNotification",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
    ],
}
# The store lets every user do these for itself unless told otherwise: a stolen login could change
# its secret, or leave another one behind that outlives a new secret.
_NOT_EVEN_FOR_ITSELF = ["admin:CreateServiceAccount", "admin:CreateUser"]
_ADMIN = {
    PROVISIONER: ["admin:GetBucketQuota", "admin:SetBucketQuota"],
    METRICS: ["admin:Prometheus"],
    "watcher": ["admin:Prometheus"],
}


def access_key(bucket_prefix: str, user: str) -> str:
    """Return the name with which *user* logs in."""
    return f"{bucket_prefix}{user}"


def policy_of(user: str, bucket_prefix: str) -> dict[str, object]:
    """Return what *user* may do, as an IAM policy; what it does not name is refused."""
    bucket = f"{bucket_prefix}{_UUID}"
    statements: list[dict[str, object]] = [{"Effect": "Deny", "Action": _NOT_EVEN_FOR_ITSELF}]
    for part, actions in _OBJECTS[user].items():
        statements.append(_allow(actions, f"{bucket}/{_UUID}/{part}/*"))
    if user in _BUCKETS:
        statements.append(_allow(_BUCKETS[user], f"{bucket}*"))
    if user in _ADMIN:
        statements.append({"Effect": "Allow", "Action": _ADMIN[user]})
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: Sequence[str], resource: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": [f"arn:aws:s3:::{resource}"]}


def make_users(settings: AdministratorSettings, secrets: Mapping[str, str]) -> None:
    """Make the users of *secrets*, by name, with their policies; raises MinioAdminException."""
    with ThreadPoolExecutor(len(secrets)) as threads:
        list(threads.map(lambda user: _make_among_others(settings, user, secrets[user]), secrets))


def _make_among_others(settings: AdministratorSettings, user: str, secret: str) -> None:
    # Two stacks may make the same user at once, and the store then refuses one of them for now.
    for _ in range(_TRIES - 1):
        try:
            return _make(settings, user, secret)
        except MinioAdminException:
            time.sleep(0.2)
    return _make(settings, user, secret)


def _make(settings: AdministratorSettings, user: str, secret: str) -> None:
    admin = admin_client(settings, urllib3.PoolManager(timeout=_TIMEOUT_SECONDS))
    name = access_key(settings.s3_bucket_prefix, user)
    admin.policy_add(name, policy=policy_of(user, settings.s3_bucket_prefix))
    admin.user_add(name, secret)
    if json.loads(admin.user_info(name)).get("policyName") != name:
        admin.policy_set(name, user=name)


def write_metrics_token(settings: AdministratorSettings, file: Path) -> None:
    """Have Prometheus find in *file* what it shows the store."""
    secret = settings.metrics_s3_secret.get_secret_value()
    draft = file.with_name(f".{file.name}")
    draft.write_text(metrics_token(access_key(settings.s3_bucket_prefix, METRICS), secret))
    draft.chmod(0o644)  # in a directory that Prometheus, another user in a container, has alone
    draft.replace(file)


def main() -> None:
    """Make the users that the environment describes."""
    settings = AdministratorSettings()
    make_users(settings, settings.secrets())
    if settings.metrics_token_path:
        write_metrics_token(settings, settings.metrics_token_path)
    names = ", ".join(access_key(settings.s3_bucket_prefix, user) for user in USERS)
    sys.stdout.write(f"storage users: {names}\n")


if __name__ == "__main__":
    main()
