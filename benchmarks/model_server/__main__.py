"""Measure: one core for a server, one for the load, the same models and requests for all, every answer verified."""

import signal
import sys

from benchmarks.model_server.generator import LoadError, open_files_needed, raise_open_files
from benchmarks.model_server.options import parse
from benchmarks.model_server.rounds import Round
from benchmarks.model_server.servers import SERVERS
from benchmarks.model_server.workload import Workload
from devcluster.debian import require


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_open_files(open_files_needed(1000))
    require({"nginx": "nginx-light", "taskset": "util-linux"})
    folder = options.out / "model-server"
    folder.mkdir(parents=True, exist_ok=True)
    round_ = Round(options=options, workload=Workload(folder / "models"), folder=folder)
    for number in range(options.rounds):
        for key in options.servers:
            for row in round_.measure(SERVERS[key], number=number):
                print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
