"""
Makes sure that the programs of the native stack are there, and installs what may be.

Invariant: everything that is missing and may not be installed is reported at once, before
any long work begins.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mediactl.devstack.home import Home
from mediactl.devstack.native import kafka_jars, minio_build, packages, tools
from mediactl.devstack.native.tools import Tools
from mediactl.progress import Progress, SilentProgress

_MEDIA = (packages.FFMPEG, packages.BUBBLEWRAP, packages.NGINX, packages.NGINX_JS)


def ensure_tools(home: Home, progress: Progress | None = None) -> Tools:
    """
    Return the programs of the native stack, having installed those that were missing.

    Raises MissingToolsError, with the list and the one command for it, where this user may
    not install.
    """
    progress = progress or SilentProgress()
    home.create()
    lacking = packages.missing(_requirements(home))
    packages.check_installable(lacking)
    with ThreadPoolExecutor(max_workers=1) as pool:
        minio = pool.submit(minio_build.ensure_minio, home, progress)
        packages.install(lacking, home, progress)
        kafka_jars.ensure_kafka_jars(home, progress)
        minio.result()
    return expected_tools(home)


def ensure_media_tools(home: Home, progress: Progress) -> None:
    """Make sure of what the services themselves run, whoever provides the infrastructure."""
    lacking = packages.missing(_MEDIA)
    packages.check_installable(lacking)
    packages.install(lacking, home, progress)


def expected_tools(home: Home) -> Tools:
    """Return where the programs are, or would be, without installing anything."""
    return Tools(
        java=tools.find_java() or Path("java"),
        kafka_jars=kafka_jars.directory(home),
        minio=minio_build.binary(home),
        postgres_binaries=tools.find_postgres_binaries() or Path("/usr/bin"),
        prometheus=tools.find_prometheus() or Path("prometheus"),
        alertmanager=tools.find_alertmanager() or Path("prometheus-alertmanager"),
    )


def _requirements(home: Home) -> list[packages.Requirement]:
    always = [*_MEDIA, packages.POSTGRES, packages.JAVA]
    always += [packages.PROMETHEUS, packages.ALERTMANAGER]
    fetched = kafka_jars.directory(home).exists()
    return always if fetched else [*always, packages.MAVEN]
