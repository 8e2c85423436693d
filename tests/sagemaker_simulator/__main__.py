"""Run the simulator as a process: prints {"url": ...} when ready, ends on SIGTERM or SIGINT."""

import argparse
import json
import signal
import threading
from pathlib import Path
from typing import Any

import yaml

from tests.sagemaker_simulator import ManualClock, ScaledClock, Simulator
from tests.sagemaker_simulator.clock import Clock


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sagemaker_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--speed", type=float, default=60.0, help="virtual seconds per second; 0: only by /_simulator/clock"
    )
    parser.add_argument("--s3-endpoint", help="where artifacts are written and looked up, such as moto's address")
    parser.add_argument("--faults", type=Path, help="a fault plan in YAML or JSON: a list of rules")
    parser.add_argument("--artifact", type=Path, help="the file that completed jobs write as model.tar.gz")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--account", default="123456789012")
    parser.add_argument("--limits", action="store_true", help="throttle ListTrainingJobs at 2/s, as AWS does")
    return parser.parse_args()


def main() -> None:
    """Serve until told to stop."""
    given = arguments()
    clock: Clock = ScaledClock(given.speed) if given.speed else ManualClock()
    plan: list[dict[str, Any]] = yaml.safe_load(given.faults.read_text()) if given.faults else []
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Simulator(
        clock=clock,
        s3_endpoint=given.s3_endpoint,
        region=given.region,
        account=given.account,
        host=given.host,
        port=given.port,
        faults=plan,
        limits={} if given.limits else None,
        artifact=given.artifact.read_bytes() if given.artifact else None,
    ) as simulator:
        print(json.dumps({"url": simulator.url}), flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
