"""One host of a training job, as a process of its own: python -m tests.unit.server.host_process JOB.json."""

import json
import sys
from pathlib import Path

import numpy as np

from sagebrush_server.training.collective import together
from sagebrush_server.training.job import TrainingInput


def meet(job: TrainingInput) -> None:
    """Add up over the hosts and say what came out."""
    with together(job) as collective:
        rank = float(collective.rank)
        print(
            json.dumps(
                {
                    "rank": collective.rank,
                    "sum": collective.sum(np.array([[rank, 1.0]])).tolist(),
                    "mean": collective.mean(np.array([rank]), weight=rank + 1).tolist(),
                    "leader": collective.from_leader(np.array([rank + 7])).tolist(),
                    "any": [collective.any(rank == 1), collective.any(False)],
                }
            )
        )


def main() -> None:
    about = json.loads(Path(sys.argv[1]).read_text())
    job = TrainingInput(Path(), {}, {}, tuple(about["hosts"]), about["host"], 0)
    meet(job)


if __name__ == "__main__":
    main()
