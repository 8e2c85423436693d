"""`train`: runs the built-in algorithm that `SAGEBRUSH_ALGORITHM` names."""

import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Final

from sagebrush_server.algorithms.registry import UnknownAlgorithmError, find_algorithm
from sagebrush_server.errors import AlgorithmError, ClientError
from sagebrush_server.paths import Paths
from sagebrush_server.settings import SettingError
from sagebrush_server.termination import KILLED_CODE
from sagebrush_server.training.job import TrainingInput, read_training_input

_LOG = logging.getLogger(__name__)

CLIENT_ERROR_CODE: Final = 2
ALGORITHM_ERROR_CODE: Final = 1


def run_training(paths: Paths, *, environment: Mapping[str, str] = os.environ) -> int:
    """Train and return the process's exit code: 0, 2 for what the user can mend, 1 for the rest, 143 after SIGTERM.

    The reason of a failure is written, in one sentence, to `/opt/ml/output/failure` and is the log's last line.
    Training that SIGTERM cut short has saved its model and is no failure, but must not count as finished either: no
    file, 143.
    """
    start = time.perf_counter()
    try:
        cut_short = _train(paths, environment=environment)
    except (ClientError, SettingError) as problem:
        return _fail(paths, reason=f"ClientError: {problem}", code=CLIENT_ERROR_CODE)
    except Exception as problem:  # noqa: BLE001 – the failure file must name every reason
        _LOG.exception("training failed")
        about = str(problem) if isinstance(problem, AlgorithmError) else f"{type(problem).__name__}: {problem}"
        return _fail(paths, reason=f"AlgorithmError: {about}", code=ALGORITHM_ERROR_CODE)
    _LOG.info("training took %.1f s", time.perf_counter() - start)
    if cut_short:
        _LOG.warning("SIGTERM cut training short: the model so far is saved; exit code %d", KILLED_CODE)
        return KILLED_CODE
    return 0


def _train(paths: Paths, *, environment: Mapping[str, str]) -> bool:
    """Return whether SIGTERM cut training short."""
    name = environment.get("SAGEBRUSH_ALGORITHM", "")
    try:
        algorithm = find_algorithm(name)
    except UnknownAlgorithmError as problem:
        raise ClientError(f"SAGEBRUSH_ALGORITHM: {problem}") from None
    job = read_training_input(paths, environment=environment)
    _stop_on_sigterm(job)
    paths.model.mkdir(parents=True, exist_ok=True)
    algorithm.trainer()(job)
    return job.cut_short.is_set()


def _stop_on_sigterm(job: TrainingInput) -> None:
    def stop(number: int, frame: object) -> None:  # noqa: ARG001 – the signal module's signature
        job.stop.set()

    signal.signal(signal.SIGTERM, stop)


def _fail(paths: Paths, *, reason: str, code: int) -> int:
    sentence = " ".join(reason.split())
    paths.failure.parent.mkdir(parents=True, exist_ok=True)
    paths.failure.write_text(sentence, encoding="utf-8")
    _LOG.error("%s", sentence)
    return code
