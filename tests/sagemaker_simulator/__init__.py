"""SageMaker without an account: real state machines on a virtual clock behind the protocol that boto3 speaks.

    with Simulator(clock=ManualClock()) as simulator:
        client = boto3.client("sagemaker", endpoint_url=simulator.url, ...)
        simulator.faults.add("throttle", operation="DescribeEndpoint", times=2)
        simulator.advance(240)
        assert not simulator.audit.violations

As a process: `python -m tests.sagemaker_simulator --port 0 --speed 60`, driven by `Control(url)`.
"""

from tests.sagemaker_simulator.clock import ManualClock, ScaledClock
from tests.sagemaker_simulator.control import Control
from tests.sagemaker_simulator.faults import Faults, Rule
from tests.sagemaker_simulator.simulator import Simulator
from tests.sagemaker_simulator.timings import Timings

__all__ = ["Control", "Faults", "ManualClock", "Rule", "ScaledClock", "Simulator", "Timings"]
