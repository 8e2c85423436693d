"""The commands of the model-server image (docs/contract.md). Each imports only what it needs: pods start by it."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sagebrush_server.logs import configure_logging
from sagebrush_server.paths import Paths
from sagebrush_server.termination import await_termination, block_termination, leave_on_sigterm

_LOG = logging.getLogger(__name__)

_TRANSIENT_CODE = 1
_USER_CODE = 2


def serve() -> NoReturn:
    """Entry point `serve`: the serving container. SageMaker passes the argument `serve`, which means nothing here."""
    _leave(_serve())


def train() -> NoReturn:
    """Entry point `train`: the training container of a built-in algorithm."""
    sys.exit(_train())


def main() -> NoReturn:
    """Entry point `sagebrush-server`."""
    parser = argparse.ArgumentParser(prog="sagebrush-server", description="What runs inside Sagebrush's pods.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, *, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        return command

    add("fetch-channels", run=lambda _: _fetch_channels(), about="copy a training job's channels into the pod")
    add("upload-artifacts", run=lambda _: _upload_artifacts(), about="wait for SIGTERM, then pack and upload the model")
    add("fetch-model", run=lambda _: _fetch_model(), about="download, verify and unpack a model")
    add("serve", run=lambda _: _leave(_serve()), about="serve the model in /opt/ml/model")
    add("train", run=lambda _: _train(), about="train the built-in algorithm named by SAGEBRUSH_ALGORITHM")
    data = add("kdd-data", run=_kdd_data, about="prepare the KDD Cup 1999 intrusion data for linear-learner")
    data.add_argument(
        "--source", default="auto", help="auto, generated, download (by scikit-learn), or a file or folder of real data"
    )
    data.add_argument("--out", type=Path, required=True, help="folder to write to")
    data.add_argument("--validation-fraction", type=float, default=0.2, help="share of rows for validation")
    data.add_argument("--seed", type=int, default=0, help="seed of the split and of generated data")
    data.add_argument("--rows", type=int, default=None, help="number of rows to generate, or to keep of real data")
    data.add_argument(
        "--encoding", choices=("ordered", "alphabetical", "one-hot"), default="ordered",
        help="how symbolic features become numbers",
    )  # fmt: skip
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's shutdown, which takes the large libraries half a second and more, and waits for threads."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve() -> int:
    # Nothing is served yet, so there is nothing to drain.
    leave_on_sigterm(code=0)
    configure_logging()
    from sagebrush_server.http.server import serve as run_server
    from sagebrush_server.http.settings import ServeSettings

    try:
        run_server(ServeSettings.from_environment(), model_folder=Path(Paths.from_environment().model))
    except Exception as problem:  # noqa: BLE001 – whatever it was, the pod has to say so
        # The traceback first: the reason has to be the last line, where Kubernetes and people look.
        _LOG.debug("serving ended", exc_info=True)
        _LOG.error("can't serve: %s", " ".join(str(problem).split()) or repr(problem))
        return 1
    return 0


def _train() -> int:
    leave_on_sigterm()
    configure_logging()
    from sagebrush_server.training.cpus import limit_threads
    from sagebrush_server.training.entry import run_training

    limit_threads(os.environ)
    return run_training(Paths.from_environment())


def _fetch_channels() -> int:
    leave_on_sigterm()
    configure_logging()
    from sagebrush_server.training.fetch import fetch_channels
    from sagebrush_server.training.plan import TrainingPlan

    paths = Paths.from_environment()
    return _explain(lambda: fetch_channels(TrainingPlan.from_environment(), paths=paths), paths=paths)


def _upload_artifacts() -> int:
    block_termination()
    configure_logging()
    from sagebrush_server.training.plan import PlanError, TrainingPlan
    from sagebrush_server.training.upload import upload_artifacts

    paths = Paths.from_environment()
    try:
        plan = TrainingPlan.from_environment()
    except PlanError as problem:
        return _fail(str(problem), paths=paths, code=_USER_CODE)
    _LOG.info("waiting for the training container to end")
    await_termination()
    # The interpreter's shutdown would wait for the threads of a transfer that hangs.
    _leave(upload_artifacts(plan, paths=paths))


def _fetch_model() -> int:
    leave_on_sigterm()
    configure_logging()
    from sagebrush_server.models.fetch import ModelSource, fetch_model

    paths = Paths.from_environment()
    return _explain(lambda: fetch_model(ModelSource.from_environment(), folder=paths.model), paths=paths)


def _explain(fetch: Callable[[], None], *, paths: Paths) -> int:
    """Run `fetch` and turn its failure into a termination message and an exit code."""
    from sagebrush_server.storage.base import StorageError

    try:
        fetch()
    except StorageError as problem:
        return _fail(str(problem), paths=paths, code=_TRANSIENT_CODE if problem.transient else _USER_CODE)
    except ValueError as problem:
        return _fail(str(problem), paths=paths, code=_USER_CODE)
    except Exception as problem:  # noqa: BLE001 – whatever it was, the pod has to say so
        _LOG.exception("fetch failed")
        return _fail(f"{type(problem).__name__}: {problem}", paths=paths, code=_TRANSIENT_CODE)
    return 0


def _kdd_data(arguments: argparse.Namespace) -> int:
    configure_logging()
    from sagebrush_server.datasets.kdd import DataError, prepare

    try:
        summary = prepare(
            arguments.source,
            out=arguments.out,
            validation_fraction=arguments.validation_fraction,
            seed=arguments.seed,
            rows=arguments.rows,
            encoding=arguments.encoding,
        )
    except (DataError, OSError) as problem:
        print(f"kdd-data: {problem}", file=sys.stderr)
        return _USER_CODE
    print(summary)
    return 0


def _fail(reason: str, *, paths: Paths, code: int) -> int:
    """Leave the reason as the log's last line and as the container's termination message."""
    sentence = " ".join(reason.split())
    try:
        paths.write_termination_message(sentence)
    except OSError as problem:
        _LOG.warning("%s can't be written: %s", paths.termination_log, problem)
    _LOG.error("%s", sentence)
    return code
