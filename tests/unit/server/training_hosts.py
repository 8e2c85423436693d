"""The hosts of a training job as processes: python -m tests.unit.server.training_hosts FOLDER.

FOLDER/jobs.json lists jobs; each runs on all of its hosts at once. A host's output goes to FOLDER/<job>-<host>.log. The libraries
are imported once, and each host is a fork.
"""

import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from sagebrush_server.algorithms.linear_learner import training as linear_learner
from sagebrush_server.algorithms.xgboost import training as xgboost
from sagebrush_server.training.collective import together
from sagebrush_server.training.job import Channel, TrainingInput


def meet(job: TrainingInput) -> None:
    """Add up over the hosts and say what came out."""
    with together(job) as collective:
        rank = float(collective.rank)
        found = {
            "rank": collective.rank,
            "sum": collective.sum(np.array([[rank, 1.0]])).tolist(),
            "mean": collective.mean(np.array([rank]), weight=rank + 1).tolist(),
            "leader": collective.from_leader(np.array([rank + 7])).tolist(),
            "any": [collective.any(rank == 1), collective.any(False)],
        }
        print(json.dumps(found))


def lose(job: TrainingInput) -> None:
    """Lose a host without a word, after all have met."""
    with together(job) as collective:
        if collective.rank == 1:
            os._exit(9)
        for _ in range(3):
            collective.sum(np.zeros(1))


_RUN = {"meet": meet, "lose": lose, "linear-learner": linear_learner.train, "xgboost": xgboost.train}


def run_host(folder: Path, *, about: dict[str, Any], host: str) -> int:
    log = os.open(folder / f"{about['name']}-{host}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO)
    os.environ["SAGEBRUSH_COLLECTIVE_PORT"] = str(about["port"])
    os.environ["SAGEBRUSH_HOSTS_TIMEOUT_SECONDS"] = "60"
    model = folder / f"{about['name']}-{host}"
    model.mkdir()
    channels = {
        name: Channel(name, Path(path), content_type="text/csv") for name, path in about.get("channels", {}).items()
    }
    job = TrainingInput(model, about.get("hyperparameters", {}), channels, tuple(about["hosts"]), host, 0)
    try:
        _RUN[about["run"]](job)
    except Exception:  # noqa: BLE001 – the test looks for it in the log
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def main() -> None:
    folder = Path(sys.argv[1])
    for about in json.loads((folder / "jobs.json").read_text()):
        hosts = []
        for host in about["hosts"]:
            process = os.fork()
            if not process:
                os._exit(run_host(folder, about=about, host=host))
            hosts.append(process)
        for process in hosts:
            os.waitpid(process, 0)


if __name__ == "__main__":
    main()
