"""TrainingJobs on the simulated SageMaker as tests look at them: from Kubernetes, and from the account."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.kube import WAIT_SECONDS, Kube, Manifest, condition, wait_for
from tests.integration.sagemaker.aws import Aws
from tests.sagemaker_simulator.training import TrainingJob

LONG = 1e6
"""Virtual seconds: what takes so long does not end while a test looks."""
UNHURRIED = 80_000.0
"""Virtual seconds: training that does not end before a test says so, and then ends well: within the default maxRuntime."""
SHORT = 20.0
FINALIZER = "sagebrush.dev/sagemaker"


def wait_phase(kube: Kube, namespace: str, phase: str, *, name: str = "kdd", seconds: float = WAIT_SECONDS) -> Manifest:
    """The TrainingJob once it is in this phase."""
    return kube.wait(
        "TrainingJob", namespace, name, lambda body: body.get("status", {}).get("phase") == phase, seconds=seconds
    )


def wait_reason(
    kube: Kube, namespace: str, reason: str, *, name: str = "kdd", seconds: float = WAIT_SECONDS
) -> Manifest:
    """The TrainingJob once its Ready condition has this reason for the present generation."""
    return kube.wait_ready("TrainingJob", namespace, name, reason, seconds=seconds)


def message(body: Manifest) -> str:
    """What the Ready condition says."""
    text: str = condition(body, "Ready").get("message", "")
    return text


def standing(body: Manifest) -> tuple[str, str]:
    """Which of Ready, Reconciling and Stalled is True, and why; empty where none is yet."""
    every = (condition(body, kind) for kind in ("Ready", "Reconciling", "Stalled"))
    return next(((each["type"], each["reason"]) for each in every if each.get("status") == "True"), ("", ""))


def reasons(kube: Kube, namespace: str, *, name: str = "kdd") -> list[str]:
    """Reasons of the Events on the job, sorted."""
    return sorted(reason for _, reason, _ in kube.events(namespace, name))


def wait_events(kube: Kube, namespace: str, *wanted: str, name: str = "kdd") -> None:
    """Return once there are Events with these reasons: they are posted after the status is written."""
    wait_for(
        lambda: set(wanted) <= set(reasons(kube, namespace, name=name)),
        f"Events {wanted}",
        otherwise=lambda: str(reasons(kube, namespace, name=name)),
    )


def jobs(aws: Aws, namespace: str, *, account: str | None = None, region: str | None = None) -> list[TrainingJob]:
    """The training jobs in SageMaker that belong to a namespace's objects."""
    with aws.simulator.agenda.lock:
        aws.simulator.agenda.catch_up()
        found = aws.simulator.world.region(account, region).training_jobs.values()
        return [job for job in found if job.tags.get("sagebrush.dev/namespace") == namespace]


def wait_status(aws: Aws, namespace: str, secondary: str, *, region: str | None = None) -> TrainingJob:
    """The namespace's one job in SageMaker once its secondary status is this."""

    def look() -> TrainingJob | None:
        return next((job for job in jobs(aws, namespace, region=region) if job.secondary == secondary), None)

    return wait_for(look, f"a job in status {secondary}", otherwise=lambda: str(seen(aws, namespace, region=region)))


def finish(aws: Aws, job: TrainingJob) -> None:
    """The phase in which the job is ends now."""
    with aws.simulator.agenda.lock:
        aws.simulator.agenda.catch_up()
        following = job._next
        assert following is not None
        following.cancel()
        following.action()


def seen(aws: Aws, namespace: str, *, region: str | None = None) -> list[tuple[str, str, str]]:
    """Name and both statuses of each of the namespace's jobs in SageMaker."""
    return [(job.name, job.primary, job.secondary) for job in jobs(aws, namespace, region=region)]


def codes(aws: Aws, operation: str, namespace: str) -> list[str]:
    """How SageMaker answered each of these calls about the namespace's jobs, in their order."""
    return [entry.code for entry in aws.simulator.audit.calls(operation, resource=f"{namespace}-*")]


def wait_gone(aws: Aws, kube: Kube, namespace: str, *, name: str = "kdd") -> None:
    """Return once neither the object nor anything of its namespace in SageMaker is left."""
    kube.wait_gone("TrainingJob", namespace, name)
    wait_for(lambda: not jobs(aws, namespace), "an empty account", otherwise=lambda: str(seen(aws, namespace)))


def plan_jobs(aws: Aws, namespace: str, name: str = "*", **outcome: Any) -> None:
    """What becomes of the namespace's jobs of this name; the first plan that fits counts."""
    aws.simulator.faults.add("training", resource=f"{namespace}-{name}-*", **outcome)


def edit(kube: Kube, namespace: str, spec: Mapping[str, Any], *, name: str = "kdd") -> Manifest:
    """Change fields of the spec, which makes a new generation."""
    return kube.patch("TrainingJob", namespace, name, {"spec": dict(spec)})


def slow(aws: Aws, monkeypatch: pytest.MonkeyPatch, **timings: float) -> None:
    """Virtual seconds that phases of jobs take which this test makes or stops."""
    world = aws.simulator.world
    monkeypatch.setattr(world, "timings", replace(world.timings, **timings))
