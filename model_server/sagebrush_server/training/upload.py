"""`upload-artifacts`: the agent beside a training container. Waits for its end, packs, uploads, reports."""

import logging
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from sagebrush_server.paths import TERMINATION_MESSAGE_LIMIT, Paths
from sagebrush_server.storage.base import StorageError, with_retries
from sagebrush_server.storage.stores import store_for
from sagebrush_server.training.packing import PackingError, is_empty, pack, refuse_links
from sagebrush_server.training.plan import TrainingPlan

_LOG = logging.getLogger(__name__)


def upload_artifacts(plan: TrainingPlan, *, paths: Paths) -> int:
    """Pack and upload what training left, write the report as termination message, return the exit code (0 or 1).

    The whole upload, retries included, ends after the plan's `uploadTimeoutSeconds`: then the error is reported.
    """
    start = time.monotonic()
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["artifact"] = _upload_all(plan, paths=paths)
        except (StorageError, PackingError, OSError) as problem:
            outcome["error"] = f"the upload of {_model_uri(plan)} did not finish: {problem}"
        except Exception as problem:  # noqa: BLE001 – a thread has nobody else to tell
            _LOG.exception("the upload failed")
            outcome["error"] = f"the upload of {_model_uri(plan)} did not finish: {problem!r}"

    # A daemon thread: a transfer that hangs must not outlive the time-out.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(plan.upload_timeout_seconds)
    if worker.is_alive():
        limit = plan.upload_timeout_seconds
        return _report_error(f"the upload of {_model_uri(plan)} did not finish: over {limit:g} s", paths=paths)
    if "error" in outcome:
        return _report_error(outcome["error"], paths=paths)
    seconds = round(time.monotonic() - start, 3)
    report = {"artifact": outcome["artifact"]}
    if outcome["artifact"] is not None:
        report["uploadSeconds"] = seconds
    _LOG.info("upload: %s in %.1f s", outcome["artifact"], seconds)
    paths.write_termination_message(orjson.dumps(report).decode())
    return 0


def _model_uri(plan: TrainingPlan) -> str:
    host = "" if plan.host_index == 0 else f"{plan.host}/"
    return f"{plan.output_uri.rstrip('/')}/{plan.job_name}/output/{host}model.tar.gz"


def _upload_all(plan: TrainingPlan, *, paths: Paths) -> dict[str, Any] | None:
    """Upload `output.tar.gz` (first host only), then `model.tar.gz`: where the model is, the rest is complete."""
    with tempfile.TemporaryDirectory(dir=paths.base, prefix=".upload-") as folder:
        if plan.host_index == 0:
            output_uri = _model_uri(plan).removesuffix("model.tar.gz") + "output.tar.gz"
            _upload(paths.output_data, uri=output_uri, base=paths.base, workplace=Path(folder), plan=plan)
        return _upload(paths.model, uri=_model_uri(plan), base=paths.base, workplace=Path(folder), plan=plan)


def _upload(source: Path, *, uri: str, base: Path, workplace: Path, plan: TrainingPlan) -> dict[str, Any] | None:
    refuse_links(source, base=base)
    if is_empty(source):
        _LOG.info("upload: %s is empty, nothing to upload to %s", source, uri)
        return None
    archive = workplace / uri.rpartition("/")[2]
    sha256, size = pack(source, target=archive)
    _LOG.info("upload: %s is %d bytes, sha256 %s", uri, size, sha256)
    limit = plan.upload_timeout_seconds
    with_retries(lambda: store_for(uri).upload(archive, uri=uri), budget_seconds=limit, total_seconds=limit)
    return {"uri": uri, "sha256": sha256, "sizeBytes": size}


def _report_error(message: str, *, paths: Paths) -> int:
    _LOG.error("%s", message)
    report = orjson.dumps({"error": message})
    # Shortened with a mark, and inside the JSON, so that it stays JSON.
    while len(report) > TERMINATION_MESSAGE_LIMIT:
        message = message[: len(message) * 3 // 4] + "…"
        report = orjson.dumps({"error": message})
    paths.write_termination_message(report.decode())
    return 1
