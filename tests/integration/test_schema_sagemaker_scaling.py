"""Scaling by Application Auto Scaling in the real API server: each constraint takes what it should, and refuses the rest."""

import pytest

from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused
from tests.integration.kube import Kube
from tests.integration.manifests import GONE, changed, endpoint, scaling

pytestmark = pytest.mark.usefixtures("crds")

STEP = {"name": "burst", "threshold": 100, "steps": [{"adjustment": 2}]}
SCHEDULE = {"name": "evening", "schedule": "cron(0 18 ? * MON-FRI *)", "minReplicas": 4}
AAS = {"engine": "ApplicationAutoScaling", "applicationAutoScaling": {"stepPolicies": [STEP], "schedules": [SCHEDULE]}}
NAME = "^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
MODEL = {"artifact": {"uri": "s3://bucket/model.tar.gz"}}
ONE = endpoint(
    backend="SageMaker",
    model=MODEL,
    sageMaker={"roleArn": ROLE, "instanceType": "ml.m5.xlarge"},
    scaling=scaling(**AAS),
)
SEVERAL = endpoint(
    backend="SageMaker",
    model=MODEL,
    sageMaker={
        "roleArn": ROLE,
        "variants": [{"name": "a", "instanceType": "ml.m5.xlarge", "scaling": scaling(**AAS)}],
    },
)
PLACES = {"spec.scaling": ONE, "spec.sageMaker.variants.0.scaling": SEVERAL}


def cases(path: str) -> Cases:
    """What is taken and refused of a policy at this place."""
    table = Cases(PLACES[path])
    where = path.replace(".0", "[0]")
    own = f"{path}.applicationAutoScaling"
    table.take("the base", {})
    table.take("the operator's own engine", {f"{path}.engine": "Sagebrush", own: GONE})
    table.take("AWS' engine with nothing more", {own: GONE})
    table.refuse(
        "another engine",
        {f"{path}.engine": "KEDA", own: GONE},
        f"{where}.engine: Unsupported",
        '"Sagebrush", "ApplicationAuto',
    )
    only = "applicationAutoScaling is honoured with engine: ApplicationAutoScaling only"
    table.refuse("with the operator's engine", {f"{path}.engine": "Sagebrush"}, f"{where}: Invalid value", only)
    table.refuse("with the default engine", {f"{path}.engine": GONE}, f"{where}: Invalid value", only)
    table.refuse("empty, with the operator's", {f"{path}.engine": GONE, own: {}}, f"{where}: Invalid value", only)
    table.refuse("min above max", {f"{path}.minReplicas": 5}, where, "minReplicas must not be above maxReplicas")
    table.refuse("scale to zero", {f"{path}.minReplicas": 0}, f"{where}.minReplicas", "scale to zero needs a gateway")
    table.refuse("no target", {f"{path}.target": GONE}, f"{where}.target: Required value")
    table.refuse("no maxReplicas", {f"{path}.maxReplicas": GONE}, f"{where}.maxReplicas: Required value")
    table.number(f"{path}.maxReplicas", None, 1000)
    table.refuse(
        "maxReplicas of 0", {f"{path}.maxReplicas": 0}, f"{where}.maxReplicas in body should be greater than or"
    )
    table.refuse(
        "minReplicas of 1001", {f"{path}.minReplicas": 1001}, f"{where}.minReplicas in body should be less than or"
    )
    for field in ("scaleInCooldown", "scaleOutCooldown"):
        table.duration(f"{path}.{field}")
    rate = f"{path}.target.requestsPerMinute"
    table.refuse("no rate", {rate: GONE}, f"{where}.target", "give exactly one of requestsPerMinute")
    table.take("a request in two minutes", {rate: 0.5})
    table.refuse("target of 0", {rate: 0}, f"{where}.target.requestsPerMinute in body should be greater than 0")
    table.take("concurrency", {f"{own}.concurrentRequestsPerReplica": 0.5})
    table.refuse(
        "no concurrency",
        {f"{own}.concurrentRequestsPerReplica": 0},
        f"{where}.applicationAutoScaling.concurrentRequestsPerReplica in body should be greater than 0",
    )
    table.take("only out", {f"{own}.disableScaleIn": True})
    table.refuse(
        "only out, as text", {f"{own}.disableScaleIn": "yes"}, "disableScaleIn in body must be of type boolean"
    )
    table.known(
        path, f"{path}.target", own, f"{own}.stepPolicies.0", f"{own}.stepPolicies.0.steps.0", f"{own}.schedules.0"
    )
    step_policies(table, f"{own}.stepPolicies")
    schedules(table, f"{own}.schedules")
    return table


def step_policies(table: Cases, path: str) -> None:
    """Step scaling policies and their alarms."""
    one = f"{path}.0"
    table.items(path, None, 8, entries=[{**STEP, "name": f"s{number}"} for number in range(9)])
    table.unique(path, STEP)
    table.needed(f"{one}.name", f"{one}.threshold", f"{one}.steps", f"{one}.steps.0.adjustment")
    table.length(f"{one}.name", 1, 32)
    table.pattern(f"{one}.name", NAME, good=["Out-2", "9"], bad=["-a", "a-", "a_b", "a b", "ä"])
    table.length(f"{one}.metricName", 1, 255)
    table.choice(f"{one}.statistic", "Sum", "Average", "Minimum", "Maximum")
    table.choice(
        f"{one}.comparison",
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
    )
    table.choice(f"{one}.periodSeconds", 10, 30, 60, 300)
    table.number(f"{one}.evaluationPeriods", 1, 60)
    table.choice(f"{one}.adjustmentType", "ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")
    table.items(
        f"{one}.steps", 1, 20, entries=[{"lowerBound": n, "upperBound": n + 1, "adjustment": n} for n in range(21)]
    )
    table.take("in, by half", {f"{one}.steps": [{"upperBound": -0.5, "adjustment": -50}], f"{one}.threshold": -1.5})
    table.refuse(
        "half a replica", {f"{one}.steps.0.adjustment": 0.5}, "steps[0].adjustment in body must be of type integer"
    )
    table.duration(f"{one}.cooldown")


def schedules(table: Cases, path: str) -> None:
    """Scheduled actions."""
    one = f"{path}.0"
    table.items(path, None, 16, entries=[{**SCHEDULE, "name": f"s{number}"} for number in range(17)])
    table.unique(path, SCHEDULE)
    table.needed(f"{one}.name", f"{one}.schedule")
    table.length(f"{one}.name", 1, 64)
    table.pattern(f"{one}.name", NAME, good=["Morning-1", "9"], bad=["-a", "a-", "a_b", "a b"])
    table.pattern(
        f"{one}.schedule",
        r"^(at|rate|cron)\(.+\)$",
        good=["at(2026-12-24T18:00:00)", "rate(1 day)", "cron(0 8 ? * MON-FRI *)"],
        bad=["every day", "cron()", "0 8 * * *", "at 18:00"],
    )
    table.length(f"{one}.schedule", None, 128, start="rate(", end=")")
    table.length(f"{one}.timezone", None, 64)
    table.take("new upper bound alone", {f"{one}.minReplicas": GONE, f"{one}.maxReplicas": 9})
    table.take("both bounds", {f"{one}.maxReplicas": 9})
    table.refuse(
        "no bound", {f"{one}.minReplicas": GONE}, "schedules[0]: Invalid value", "give minReplicas, maxReplicas or both"
    )
    for bound in ("minReplicas", "maxReplicas"):
        table.number(f"{one}.{bound}", 1, 1000)


TABLES = {path: cases(path) for path in PLACES}
ACCEPTED = {f"{path}: {name}": found for path, table in TABLES.items() for name, found in table.accepted.items()}
REFUSED = {f"{path}: {name}": found for path, table in TABLES.items() for name, found in table.refused.items()}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_aws_scaling_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes and the operator reads, for the only variant and for one of several."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_aws_scaling_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


def test_aws_scaling_must_be_refused_by_the_cluster(kube: Kube):
    """Nobody but SageMaker can have AWS scale."""
    for changes in ({}, {"spec.scaling.applicationAutoScaling": GONE}):
        manifest = changed(ONE, {"spec.backend": "Cluster", "spec.sageMaker": GONE, **changes})
        check_refused(kube, manifest, ["spec.scaling.engine: backend Cluster honours Sagebrush only"])


def test_replicas_must_be_refused_beside_a_policy(kube: Kube):
    """Two owners of one number would take turns."""
    check_refused(kube, changed(ONE, {"spec.replicas": 2}), ["spec.replicas is owned by spec.scaling"])
    manifest = changed(SEVERAL, {"spec.sageMaker.variants.0.replicas": 2})
    check_refused(kube, manifest, ["spec.sageMaker.variants[0]: Invalid value", "replicas is owned by scaling here"])


@pytest.mark.parametrize("path", PLACES)
def test_aws_scaling_defaults_must_be_filled_in(kube: Kube, path):
    """Whoever reads an object sees what holds, not what was left out."""
    spec = kube.create(PLACES[path], dryRun="All")["spec"]
    found = spec["scaling"] if path == "spec.scaling" else spec["sageMaker"]["variants"][0]["scaling"]
    assert (found["minReplicas"], found["scaleOutCooldown"], found["scaleInCooldown"]) == (1, "0s", "5m")
    own = found["applicationAutoScaling"]
    assert own["disableScaleIn"] is False
    assert own["stepPolicies"] == [
        STEP
        | {"metricName": "InvocationsPerInstance", "statistic": "Sum", "comparison": "GreaterThanThreshold"}
        | {"periodSeconds": 60, "evaluationPeriods": 1, "adjustmentType": "ChangeInCapacity", "cooldown": "5m"}
    ]
    assert own["schedules"] == [SCHEDULE | {"timezone": "UTC"}]


@pytest.mark.parametrize("path", PLACES)
def test_engine_must_default_to_the_operators_own(kube: Kube, path):
    """The operator's own policy scales where the user names no engine."""
    changes = {f"{path}.engine": GONE, f"{path}.applicationAutoScaling": GONE}
    spec = kube.create(changed(PLACES[path], changes), dryRun="All")["spec"]
    found = spec["scaling"] if path == "spec.scaling" else spec["sageMaker"]["variants"][0]["scaling"]
    assert found["engine"] == "Sagebrush"
