"""`fetch-channels`: fills `/opt/ml/input` before the training container starts."""

import logging
import os
import socket
import time
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson

from sagebrush_server.paths import Paths
from sagebrush_server.settings import read_number
from sagebrush_server.storage.base import StorageError, StoredObject, with_retries
from sagebrush_server.storage.stores import store_for
from sagebrush_server.storage.transfer import download, retry_seconds
from sagebrush_server.training.plan import PlannedChannel, TrainingPlan

_LOG = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.5


def fetch_channels(plan: TrainingPlan, *, paths: Paths) -> None:
    """Prepare folders, channels and configuration files of this host, then wait for the other hosts' names.

    Safe to run again after a failure. Raises StorageError naming the channel and its URI.
    """
    _make_folders(paths)
    for channel in plan.channels:
        try:
            _fetch(channel, plan=plan, folder=paths.input_data / channel.name)
        except StorageError as problem:
            raise StorageError(f"channel {channel.name}: {problem}", transient=problem.transient) from problem
    _write_configuration(plan, paths=paths)
    paths.host_env.parent.mkdir(parents=True, exist_ok=True)
    paths.host_env.write_text(f"SM_CURRENT_HOST='{plan.host}'\n", encoding="utf-8")
    if len(plan.hosts) > 1:
        _await_hosts(plan)


def _make_folders(paths: Paths) -> None:
    """Make the folders writable for any user: the training image may run as one we don't know."""
    for folder in (paths.input_config, paths.input_data, paths.model, paths.output_data):
        folder.mkdir(parents=True, exist_ok=True)
        for level in (folder.parent, folder):
            if level != paths.base:
                level.chmod(0o777)


def _fetch(channel: PlannedChannel, *, plan: TrainingPlan, folder: Path) -> None:
    if channel.input_mode != "File":
        raise StorageError(f"{channel.uri}: input mode {channel.input_mode} is not offered; use File", transient=False)
    start = time.monotonic()
    store = store_for(channel.uri)
    found = with_retries(lambda: store.list_objects(channel.uri), budget_seconds=retry_seconds())
    if not found:
        raise StorageError(
            f"{channel.uri}: there is nothing under this prefix; mend the URI or upload", transient=False
        )
    if channel.distribution == "ShardedByS3Key":
        found = found[plan.host_index :: len(plan.hosts)]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    size = 0
    gunzip = channel.compression == "Gzip"
    for stored in found:
        _, received = download(store, stored=stored, path=folder / _safe_name(stored, gunzip=gunzip), gunzip=gunzip)
        size += received
    seconds = time.monotonic() - start
    _LOG.info("channel %s: %d files, %d bytes from %s in %.1f s", channel.name, len(found), size, channel.uri, seconds)


def _safe_name(stored: StoredObject, *, gunzip: bool) -> PurePosixPath:
    """Return the name below the channel's folder, without `.gz` where that is unpacked."""
    name = PurePosixPath(stored.name)
    if name.is_absolute() or not name.parts or ".." in name.parts:
        raise StorageError(f"{stored.uri}: the name {stored.name!r} leaves the channel's folder", transient=False)
    return name.with_suffix("") if gunzip and name.suffix == ".gz" else name


def _write_configuration(plan: TrainingPlan, *, paths: Paths) -> None:
    """Write the three files of SageMaker's contract ("How SageMaker AI Provides Training Information")."""
    parameters = {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in plan.hyperparameters.items()
    }
    channels = {}
    for channel in plan.channels:
        about = {
            "TrainingInputMode": channel.input_mode,
            "S3DistributionType": channel.distribution,
            "RecordWrapperType": channel.record_wrapper,
        }
        channels[channel.name] = (
            about if channel.content_type is None else {"ContentType": channel.content_type, **about}
        )
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "cluster", "hosts": list(plan.hosts)}
    resources = {
        "current_host": plan.host,
        "hosts": list(plan.hosts),
        "network_interface_name": "eth0",
        "current_instance_type": "cluster",
        "current_group_name": group["instance_group_name"],
        "instance_groups": [group],
    }
    documents: dict[str, Any] = {
        "hyperparameters": parameters,
        "inputdataconfig": channels,
        "resourceconfig": resources,
    }
    for name, document in documents.items():
        (paths.input_config / f"{name}.json").write_bytes(orjson.dumps(document))


def _await_hosts(plan: TrainingPlan) -> None:
    limit = read_number(os.environ, name="SAGEBRUSH_HOSTS_TIMEOUT_SECONDS", default=600.0)
    deadline = time.monotonic() + limit
    missing = list(plan.hosts)
    while missing:
        missing = [host for host in missing if not _resolves(host)]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise StorageError(f"the hosts {', '.join(missing)} did not resolve within {limit:.0f} s", transient=True)
        time.sleep(_POLL_SECONDS)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    return True
