"""spec.scaling in the real API server: each constraint takes what it should, and refuses the rest by name."""

import pytest

from tests.integration.constraints import ROLE, Cases, check_accepted, check_refused
from tests.integration.kube import Kube
from tests.integration.manifests import GONE, endpoint, scaling

pytestmark = pytest.mark.usefixtures("crds")

MODEL = {"artifact": {"uri": "s3://bucket/model.tar.gz"}}
COMMON = {
    "capacity": {"requestsPerSecond": 250, "concurrency": 8},
    "schedules": [{"name": "office", "cron": "0 8 * * MON-FRI", "duration": "10h", "minReplicas": 2, "maxReplicas": 3}],
    "prediction": {"mode": "Observe", "maxReplicas": 3},
}
BEHAVIOURS = {
    "source": "Pods",
    "stepPolicy": {"steps": [{"above": 45000, "change": 2}]},
    "burst": {"mode": "Auto"},
    "scaleOutLimit": {"replicas": 4, "percent": 100, "period": "15s"},
    "scaleInLimit": {"percent": 50},
}
ONE = endpoint(scaling=scaling(**COMMON, **BEHAVIOURS))
SEVERAL = endpoint(
    backend="SageMaker",
    model=MODEL,
    sageMaker={
        "roleArn": ROLE,
        "variants": [{"name": "a", "instanceType": "ml.m5.xlarge", "scaling": scaling(**COMMON)}],
    },
)
PLACES = {"spec.scaling": ONE, "spec.sageMaker.variants.0.scaling": SEVERAL}
EXACTLY_ONE = "give exactly one of requestsPerMinute, inFlight, latency, percentOfCapacity and query"
HONOURED = "engine: ApplicationAutoScaling honours target.requestsPerMinute"


def targets(table: Cases, path: str) -> None:
    """One target, and only one."""
    each = {
        "requestsPerMinute": 0.5,
        "inFlight": 2.5,
        "latency": "500ms",
        "percentOfCapacity": 70,
        "query": {"expression": "sum(x)", "perReplica": 3},
    }
    for name, value in each.items():
        table.take(f"target {name}", {path: {name: value}})
    table.refuse("an empty target", {path: {}}, EXACTLY_ONE)
    table.refuse("two targets", {path: {"inFlight": 1, "latency": "1s"}}, EXACTLY_ONE)
    where = path.replace(".0", "[0]")
    for name in ("requestsPerMinute", "inFlight", "percentOfCapacity"):
        table.refuse(f"{name} of 0", {path: {name: 0}}, f"{where}.{name} in body should be greater than 0")
    table.refuse("101 percent", {path: {"percentOfCapacity": 101}}, f"{where}.percentOfCapacity", "equal to 100")
    for good in ("1ms", "999999ms", "9999s"):
        table.take(f"latency {good}", {path: {"latency": good}})
    for bad in ("0ms", "500", "1m", "1000000ms", "-1s", "0.5s"):
        table.refuse(f"latency {bad}", {path: {"latency": bad}}, f"{where}.latency")
    table.take("late", {path: {"latency": "1s", "latePercent": 10}})
    table.refuse("late of 0", {path: {"latency": "1s", "latePercent": 0}}, f"{where}.latePercent", "greater than 0")
    table.refuse("late of 11", {path: {"latency": "1s", "latePercent": 11}}, f"{where}.latePercent", "equal to 10")
    table.refuse("late alone", {path: {"inFlight": 1, "latePercent": 1}}, "latePercent belongs to latency")
    query = {"expression": "sum(x)", "perReplica": 3}
    table.refuse("no expression", {path: {"query": {"perReplica": 3}}}, f"{where}.query.expression: Required value")
    table.refuse("nothing per replica", {path: {"query": {"expression": "x"}}}, f"{where}.query.perReplica: Required")
    table.refuse("0 per replica", {path: {"query": {**query, "perReplica": 0}}}, f"{where}.query.perReplica")
    table.refuse("empty expression", {path: {"query": {**query, "expression": ""}}}, f"{where}.query.expression")
    table.refuse("long expression", {path: {"query": {**query, "expression": "x" * 4097}}}, f"{where}.query.expression")


def schedules(table: Cases, path: str) -> None:
    """Hours that are known in advance."""
    one, entry = f"{path}.0", COMMON["schedules"][0]
    table.items(path, None, 16, entries=[{**entry, "name": f"s{number}"} for number in range(17)])
    table.unique(path, entry)
    table.needed(f"{one}.name", f"{one}.cron", f"{one}.duration")
    table.length(f"{one}.name", 1, 64)
    table.pattern(f"{one}.name", "^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", good=["Out-2", "9"], bad=["-a", "a_b"])
    table.take("every quarter", {f"{one}.cron": "*/15 6-22 1,15 JAN-MAR MON#1"})
    for bad in ("0 8 * *", "0 8 * * MON 2026", "@daily, at 8"):
        table.refuse(f"cron {bad}", {f"{one}.cron": bad}, f"{path.replace('.0', '[0]')}[0].cron")
    table.duration(f"{one}.duration")
    table.duration(f"{one}.lead")
    table.take("time zone", {f"{one}.timeZone": "America/Argentina/Buenos_Aires"})
    table.refuse("time zone in words", {f"{one}.timeZone": "Berlin time"}, "timeZone")
    table.number(f"{one}.minReplicas", 1, None)
    table.take("a cap alone", {f"{one}.minReplicas": GONE})
    table.refuse(
        "no bound", {f"{one}.minReplicas": GONE, f"{one}.maxReplicas": GONE}, "give minReplicas, maxReplicas or both"
    )
    table.refuse("bounds crossed", {f"{one}.minReplicas": 4}, "minReplicas must not be above maxReplicas")


def common(path: str) -> Cases:
    """What a policy takes at each of its places."""
    table = Cases(PLACES[path])
    table.take("the base", {})
    table.choice(f"{path}.mode", "Auto", "Recommend", "Off")
    targets(table, f"{path}.target")
    schedules(table, f"{path}.schedules")
    capacity, where = f"{path}.capacity", path.replace(".0", "[0]")
    table.take("concurrency alone", {f"{capacity}.requestsPerSecond": GONE})
    table.refuse("capacity of 0", {f"{capacity}.requestsPerSecond": 0}, f"{where}.capacity.requestsPerSecond")
    table.number(f"{capacity}.concurrency", 1, 1024)
    table.choice(f"{path}.prediction.mode", "Auto", "Observe", "Off")
    table.number(f"{path}.prediction.maxReplicas", 1, 1000)
    table.known(path, f"{path}.target", capacity, f"{path}.schedules.0", f"{path}.prediction")
    return table


def behaviours() -> Cases:
    """What only the policy of a single variant takes."""
    table, path = Cases(ONE), "spec.scaling"
    table.choice(f"{path}.source", "Prometheus", "Pods")
    table.choice(f"{path}.burst.mode", "Auto", "Off")
    table.duration(f"{path}.burst.hold")
    table.number(f"{path}.burst.maxPercent", 10, 10000)
    for limit in ("scaleOutLimit", "scaleInLimit"):
        table.number(f"{path}.{limit}.replicas", 1, 1000)
        table.number(f"{path}.{limit}.percent", 1, 1000)
        table.duration(f"{path}.{limit}.period")
        table.refuse(f"empty {limit}", {f"{path}.{limit}": {}}, f"{path}.{limit}", "give replicas, percent or both")
    steps = f"{path}.stepPolicy.steps"
    table.items(steps, 1, 10, entries=[{"above": number, "change": 1} for number in range(11)])
    table.duration(f"{path}.stepPolicy.cooldown")
    table.take("steps both ways", {steps: [{"above": 9, "changePercent": 50}, {"below": 2, "change": -1}]})
    table.refuse("above and below", {f"{steps}.0": {"above": 9, "below": 2, "change": 1}}, "one of above and below")
    table.refuse("neither", {f"{steps}.0": {"change": 1}}, "give exactly one of above and below")
    table.refuse("two changes", {f"{steps}.0": {"above": 9, "change": 1, "changePercent": 1}}, "one of change and")
    table.refuse("no change", {f"{steps}.0": {"above": 9}}, "give exactly one of change and changePercent")
    table.refuse("above, to remove", {f"{steps}.0": {"above": 9, "change": -1}}, "above adds replicas")
    table.refuse("below, to add", {f"{steps}.0": {"below": 9, "changePercent": 10}}, "above adds replicas")
    table.known(f"{path}.burst", f"{path}.scaleOutLimit", f"{path}.stepPolicy", f"{steps}.0")
    return table


TABLES = [common(path) for path in PLACES] + [behaviours()]
ACCEPTED = {f"{at}: {name}": case for at, table in enumerate(TABLES) for name, case in table.accepted.items()}
REFUSED = {f"{at}: {name}": case for at, table in enumerate(TABLES) for name, case in table.refused.items()}


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_policy_must_be_accepted(kube: Kube, manifest):
    """What the schema promises to take, the API server takes."""
    check_accepted(kube, manifest)


@pytest.mark.parametrize(("manifest", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_policy_must_be_refused(kube: Kube, manifest, words):
    """A refusal names the field and says what is legal."""
    check_refused(kube, manifest, words)


AWS_REFUSES = {
    **COMMON,
    **BEHAVIOURS,
    "mode": "Recommend",
    "target": {"inFlight": 1},
}


@pytest.mark.parametrize("field", AWS_REFUSES)
def test_aws_engine_must_refuse_what_is_not_its(kube: Kube, field):
    """What Application Auto Scaling has no way to honour is refused, never ignored."""
    hosting = {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}
    table = Cases(
        endpoint(backend="SageMaker", model=MODEL, sageMaker=hosting, scaling=scaling(engine="ApplicationAutoScaling"))
    )
    table.refuse(field, {f"spec.scaling.{field}": AWS_REFUSES[field]}, HONOURED)
    check_refused(kube, *table.refused[field])


def test_pods_of_sagemaker_must_be_refused(kube: Kube):
    """SageMaker's instances show nobody their metrics."""
    hosting = {"roleArn": ROLE, "instanceType": "ml.m5.xlarge"}
    table = Cases(endpoint(backend="SageMaker", model=MODEL, sageMaker=hosting, scaling=scaling()))
    table.refuse("pods", {"spec.scaling.source": "Pods"}, "spec.scaling.source", "backend: Cluster only")
    check_refused(kube, *table.refused["pods"])
