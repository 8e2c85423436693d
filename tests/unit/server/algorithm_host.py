"""One host of several training jobs, one after the other: python -m tests.unit.server.algorithm_host JOBS.json HOST."""

import json
import sys
from pathlib import Path

from sagebrush_server.algorithms.registry import find_algorithm
from sagebrush_server.training.job import Channel, TrainingInput


def main() -> None:
    host = sys.argv[2]
    for about in json.loads(Path(sys.argv[1]).read_text()):
        channels = {
            name: Channel(name, Path(channel["folder"]), content_type=channel["content_type"])
            for name, channel in about["channels"].items()
        }
        folder = Path(about["folder"]) / host
        folder.mkdir(parents=True)
        job = TrainingInput(folder, about["hyperparameters"], channels, tuple(about["hosts"]), host, 0)
        find_algorithm(about["algorithm"]).trainer()(job)


if __name__ == "__main__":
    main()
