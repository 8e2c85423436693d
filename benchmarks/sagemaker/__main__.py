"""Measure: calls, time to notice changes, CPU and memory of the operator with hundreds of objects on SageMaker."""

import json
import logging
import signal
import sys

from benchmarks.sagemaker.options import parse
from benchmarks.sagemaker.recording import Recording
from benchmarks.sagemaker.report import table
from benchmarks.sagemaker.results import Results
from benchmarks.sagemaker.scenario import Scenario, TooSlowError
from benchmarks.sagemaker.stage import Stage


def main() -> int:
    """Run, print and write; 1 where something was wrong, not where it was slow."""
    options = parse()
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("starting a Kubernetes API, the simulator and the operator", flush=True)
    with Stage(options) as stage:
        run = Scenario(stage, Recording(stage))
        try:
            run.run()
        except TooSlowError as error:
            print(f"WRONG  {error}\nthe operator's log: {stage.operator.log}", file=sys.stderr)
            return 1
        document = Results(run, stage.control.audit(calls=True)).document()
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "sagemaker.json"
    target.write_text(json.dumps(document, indent=2, default=str) + "\n")
    print(f"{table(document)}\n\nall figures: {target}")
    return 0 if all(check["passed"] for check in document["checks"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
