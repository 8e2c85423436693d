"""What is known of a run, the verdict, and report.json for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from examples.demo.watch import Decision
from examples.sagemaker_demo.audit import LEAST_LEVEL, Audit
from examples.sagemaker_demo.watch import Sample

STAGES = {"load": "scale-out to the first target", "target": "scale-out to the second", "quiet": "scale-in"}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment on both clocks."""

    time: datetime
    virtual: float


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """How training went."""

    virtual_seconds: float
    """From start to completion, on SageMaker's clock."""
    phases: Sequence[str]
    artifact: str
    billable_seconds: int
    cost: float
    currency: str
    prices_as_of: str


@dataclass(frozen=True, kw_only=True)
class ServeReport:
    """How long the endpoint was Creating."""

    virtual_seconds: float
    wall_seconds: float


@dataclass(kw_only=True)
class Stage:
    """One stage of the load."""

    name: str
    rate: float
    """Requests per minute."""
    target: int
    wanted: int
    """Instances."""
    begun: Moment
    reached: Moment | None = None
    """When so many instances served."""
    ended: Moment | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """How one change of the revision ended."""

    time: datetime
    """When it was known."""
    what: str
    config: str
    is_first: bool
    """The first configuration serves."""
    reason: str
    message: str
    problems: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What Application Auto Scaling did, on SageMaker's clock."""

    virtual: float
    stage: str
    seconds: float
    """Since the stage began."""
    description: str


@dataclass(kw_only=True)
class Run:
    """What is known of one run; parts stay empty where it did not get so far."""

    began: datetime
    speed: float
    short: bool = False
    data: str = ""
    train: TrainReport | None = None
    serve: ServeReport | None = None
    stages: list[Stage] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    hourly: list[float] = field(default_factory=list)
    """status.cost.hourly as it was seen."""
    most_instances: int = 0
    busy_looks: int = 0
    """Looks at which the policy's decision was held since the endpoint was changing."""
    deletion_seconds: float | None = None
    objects_left: list[str] | None = None
    audit: Audit | None = None
    final_table: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    """Why the run broke off, empty where it came to its end."""


def train_report(job: Mapping[str, Any]) -> TrainReport:
    """Read how training went from a completed TrainingJob."""
    status = job["status"]
    # status.startTime is the operator's, who asked for the job on another clock.
    begun = datetime.fromisoformat(status["transitions"][0]["startTime"])
    took = datetime.fromisoformat(status["completionTime"]) - begun
    cost = status.get("cost") or {}
    return TrainReport(
        virtual_seconds=took.total_seconds(),
        phases=[entry["phase"] for entry in status["transitions"]],
        artifact=status["modelArtifact"]["uri"],
        billable_seconds=status["sageMaker"]["billableSeconds"],
        cost=cost.get("total", 0.0),
        currency=cost.get("currency", ""),
        prices_as_of=cost.get("pricesAsOf", ""),
    )


def serve_report(samples: Sequence[Sample]) -> ServeReport:
    """Read from the samples how long Creating took; as exact as the looks are frequent."""
    first = samples[0]
    serving = next(sample for sample in samples if sample.status == "InService")
    return ServeReport(
        virtual_seconds=round(serving.virtual - first.virtual, 0),
        wall_seconds=round((serving.time - first.time).total_seconds(), 1),
    )


def activities_of(answer: Sequence[Mapping[str, Any]], *, stages: Sequence[Stage]) -> list[Activity]:
    """Read what Application Auto Scaling did, oldest first, each beside the stage in which it was."""
    found = []
    for entry in sorted(answer, key=lambda each: each["StartTime"]):
        virtual = entry["StartTime"].timestamp()
        begun = [stage for stage in stages if stage.begun.virtual <= virtual]
        if begun and entry.get("StatusCode") != "Unfulfilled":
            seconds = round(virtual - begun[-1].begun.virtual, 0)
            found.append(
                Activity(virtual=virtual, stage=begun[-1].name, seconds=seconds, description=str(entry["Description"]))
            )
    return found


def decisions_in(run: Run, stage: Stage) -> list[Decision]:
    """Return the policy's decisions in a stage."""
    later = [each.begun.time for each in run.stages if each.begun.time > stage.begun.time]
    end = min(later) if later else None
    return [each for each in run.decisions if each.time >= stage.begun.time and (end is None or each.time < end)]


def problems(run: Run) -> list[str]:
    """Say what did not go as it should, one line each; empty is success."""
    if run.failure:
        return [run.failure]
    found = [f"{update.what}: {line}" for update in run.updates for line in update.problems]
    if run.train is None or not run.train.billable_seconds or not run.train.cost:
        found.append("the TrainingJob's status has no billable seconds, or no cost")
    found += [
        f"{STAGES[stage.name]}: {stage.wanted} instances were not reached" for stage in run.stages if not stage.reached
    ]
    if len(run.stages) < len(STAGES):
        found.append(f"{len(run.stages)} of {len(STAGES)} stages of the load were seen")
    most = max((stage.wanted for stage in run.stages), default=0)
    if run.most_instances > most:
        found.append(f"{run.most_instances} instances at a time, where {most} carry the load")
    if run.objects_left is None or run.objects_left:
        found.append(f"objects are left: {', '.join(run.objects_left or ['not looked at'])}")
    return found + (audit_problems(run.audit) if run.audit else ["the simulator's log was not read"])


def audit_problems(audit: Audit) -> list[str]:
    """Say what the operator did wrong in AWS' eyes."""
    found = [f"violation: {each}" for each in audit.violations]
    found += [f"orphan: {each}" for each in audit.orphans]
    found += [f"left in SageMaker, {kind}: {', '.join(names)}" for kind, names in audit.leftovers.items()]
    if audit.lowest_level < LEAST_LEVEL:
        found.append(f"the budget was overdrawn: the bucket would have stood at {audit.lowest_level:g} tokens")
    return found


def audit_lines(audit: Audit) -> list[str]:
    """Return the log in some lines."""
    return [
        (
            f"{audit.calls} calls by the operator, at most {audit.peak_per_second} within a second "
            f"(its bucket of {audit.burst} tokens, {audit.rate:g} new ones a second, never stood below {audit.lowest_level:g})"
        ),
        *(f"  {number:5}  {operation}" for operation, number in audit.operations.items()),
        (
            f"answers: {', '.join(f'{number} × {code}' for code, number in audit.answers.items())} "
            "(ValidationException is also how SageMaker says that there is no such thing)"
        ),
        (
            f"{len(audit.violations)} violations, {len(audit.orphans)} orphans, "
            f"{sum(map(len, audit.leftovers.values()))} things left in SageMaker"
        ),
    ]


def to_json(run: Run) -> dict[str, Any]:
    """Return the report in the schema that other programs read. Times: `wall` is this machine's, `virtual` SageMaker's."""
    return {
        "began": run.began.isoformat(timespec="seconds"),
        "problems": problems(run),
        "speed": run.speed,
        "short": run.short,
        "data": run.data,
        "train": run.train
        and {
            "virtualSeconds": run.train.virtual_seconds,
            "phases": list(run.train.phases),
            "artifact": run.train.artifact,
            "billableSeconds": run.train.billable_seconds,
            "cost": run.train.cost,
            "currency": run.train.currency,
            "pricesAsOf": run.train.prices_as_of,
        },
        "endpoint": run.serve
        and {"creatingVirtualSeconds": run.serve.virtual_seconds, "creatingWallSeconds": run.serve.wall_seconds},
        "stages": [_stage_json(run, stage) for stage in run.stages],
        "mostInstances": run.most_instances,
        "hourly": run.hourly,
        "looksWithEndpointBusy": run.busy_looks,
        "applicationAutoScaling": [
            {"stage": each.stage, "virtualSeconds": each.seconds, "what": each.description} for each in run.activities
        ],
        "updates": [
            {
                "what": each.what,
                "config": each.config,
                "isFirst": each.is_first,
                "reason": each.reason,
                "message": each.message,
            }
            for each in run.updates
        ],
        "revisions": run.revisions,
        "deletion": {"wallSeconds": run.deletion_seconds, "objectsLeft": run.objects_left},
        "audit": run.audit
        and {
            "calls": run.audit.calls,
            "operations": dict(run.audit.operations),
            "answers": dict(run.audit.answers),
            "bucket": {"rate": run.audit.rate, "burst": run.audit.burst},
            "peakPerSecond": run.audit.peak_per_second,
            "lowestBucketLevel": run.audit.lowest_level,
            "violations": list(run.audit.violations),
            "orphans": list(run.audit.orphans),
            "leftovers": {kind: list(names) for kind, names in run.audit.leftovers.items()},
        },
        "versions": run.versions,
        "steps": dict(run.steps),
    }


def _stage_json(run: Run, stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "requestsPerMinute": stage.rate,
        "target": stage.target,
        "instances": stage.wanted,
        "reached": stage.reached is not None,
        "decisions": [
            {
                "wallSeconds": seconds_since(stage, each.time),
                "from": each.from_replicas,
                "to": each.to_replicas,
                "reason": each.reason,
            }
            for each in decisions_in(run, stage)
        ],
    }


def seconds_since(stage: Stage, time: datetime) -> float:
    """Return the seconds of this machine's clock from a stage's beginning."""
    return round((time - stage.begun.time).total_seconds(), 1)


def first_decisions(run: Run) -> str:
    """Return how soon either engine acted on the load, each by the clock that it lives on."""
    ours = next((seconds_since(run.stages[0], each.time) for each in run.decisions), None) if run.stages else None
    theirs = next((each.seconds for each in run.activities if each.stage == "load"), None)
    said = "never" if ours is None else f"{ours:.1f} s after the load by its clock, this machine's"
    theirs_said = "never" if theirs is None else f"{theirs:.0f} s after it by SageMaker's"
    return f"The operator's policy first acted {said}; Application Auto Scaling {theirs_said}."
