"""Operators that are throttled, or killed between any two calls to AWS: always one job for each object, and none for nobody."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.operator_process import OperatorProcess, Operators, free_port
from tests.integration.sagemaker.aws import Aws, over_budget, training_job
from tests.integration.sagemaker.jobs import (
    FINALIZER,
    LONG,
    SHORT,
    codes,
    jobs,
    plan_jobs,
    seen,
    wait_gone,
    wait_phase,
)
from tests.sagemaker_simulator.errors import ConnectionLost
from tests.sagemaker_simulator.protocol import Request

CHANGING = ("CreateTrainingJob", "StopTrainingJob", "DeleteTrainingJob")
"""The calls that change something in the life of a job that is deleted while it trains, in their order."""


class Killer:
    """Kills the operator at a changing call of its own, before or after the call has its effect, and drops the connection."""

    def __init__(self, aws: Aws, operator: OperatorProcess, operation: str, *, after: bool) -> None:
        self._operator, self._operation, self._after = operator, operation, after
        self._answer: Callable[[Request], Any] = aws.simulator.dispatcher.answer
        self.struck = False

    def answer(self, request: Request) -> Any:
        """In place of the dispatcher's."""
        if self.struck or request.operation != self._operation:
            return self._answer(request)
        self.struck = True
        if self._after:
            self._answer(request)
        self._operator.kill()
        raise ConnectionLost

    def has_killed(self) -> bool:
        """Whether it is done."""
        return self.struck and self._operator.process.poll() is not None


def kill_at(aws: Aws, operator: OperatorProcess, patch: pytest.MonkeyPatch, operation: str, *, after: bool) -> Killer:
    """The operator's next call of this operation will be its last."""
    killer = Killer(aws, operator, operation, after=after)
    patch.setattr(aws.simulator.dispatcher, "answer", killer.answer)
    return killer


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_operator_must_leave_exactly_one_job(
    aws: Aws, kube: Kube, namespace: str, operators: Operators, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """
    Killed at each call of a job's life, before or after it had its effect, an operator leaves what the next one goes on from.

    Each operator but the last dies at its first call that changes something: there is exactly one job, and no orphan.
    """
    plan_jobs(aws, namespace, duration=LONG)
    for operation in CHANGING:
        killer = kill_at(aws, aws.start(operators, namespace), monkeypatch, operation, after=after)
        if operation == "CreateTrainingJob":
            kube.apply(training_job("kdd", namespace))
        elif operation == "StopTrainingJob":
            body = wait_phase(kube, namespace, "Training")
            assert [(body["status"]["jobName"], "InProgress", "Training")] == seen(aws, namespace)
            kube.delete("TrainingJob", namespace, "kdd")
        wait_for(killer.has_killed, f"the kill at {operation}")
        assert FINALIZER in (kube.get("TrainingJob", namespace, "kdd") or {})["metadata"]["finalizers"]
    aws.start(operators, namespace)
    wait_gone(aws, kube, namespace)
    aws.wait_clean()
    assert ["OK"] == codes(aws, "CreateTrainingJob", namespace)
    assert ["OK"] == codes(aws, "StopTrainingJob", namespace)
    assert ["OK"] == codes(aws, "DeleteTrainingJob", namespace)


def test_throttles_must_slow_all_jobs_down_together(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """What AWS throttles is asked again, later and more seldom; and never do all objects together exceed the budget."""
    rate, burst = 8, 3  # in a second of the wall
    aws.simulator.faults.add("throttle", operation="CreateTrainingJob")
    plan_jobs(aws, namespace, duration=SHORT)
    operator = aws.start(operators, namespace, f"--aws-calls-per-second={rate / aws.speed}", f"--aws-burst={burst}")
    names = [f"kdd-{number}" for number in range(4)]
    begun, since = len(aws.simulator.audit.entries), aws.simulator.clock.now()
    for name in names:
        kube.apply(training_job(name, namespace))
    for name in names:
        wait_phase(kube, namespace, "Completed", name=name)
    throttled = aws.simulator.audit.count(code="ThrottlingException")
    assert 1 == throttled
    assert len(names) == len(jobs(aws, namespace)) == aws.simulator.audit.count("CreateTrainingJob", code="OK")
    entries = aws.simulator.audit.entries[begun:]
    assert over_budget(entries, since=since, rate=rate / aws.speed, burst=burst) <= 1, "one for the clock's grain"
    assert throttled == operator.metric("sagebrush_aws_calls_total", result="Throttled")
    for name in names:
        kube.delete("TrainingJob", namespace, name)
    for name in names:
        wait_gone(aws, kube, namespace, name=name)


def test_s3_that_tells_nothing_must_not_hold_a_job_up(aws: Aws, kube: Kube, namespace: str, operators: Operators):
    """The operator need not reach or read the data: what it can't know it leaves to SageMaker."""
    plan_jobs(aws, namespace, duration=SHORT)
    aws.start(operators, namespace, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{free_port()}")
    kube.apply(training_job("kdd", namespace))
    wait_phase(kube, namespace, "Completed")
