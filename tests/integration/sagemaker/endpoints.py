"""ModelEndpoints on the simulated SageMaker as tests look at them: from Kubernetes, and from the account."""

from collections.abc import Mapping
from typing import Any

from tests.integration.kube import WAIT_SECONDS, Kube, Manifest, condition, wait_for
from tests.integration.sagemaker.aws import BUCKET, Aws
from tests.sagemaker_simulator.endpoint import Endpoint
from tests.sagemaker_simulator.world import Region, Thing

LONG = 1e6
"""Virtual seconds: what takes so long does not end before a test says so."""
QUICK = {"endpoint_creating": 60.0, "endpoint_updating": 60.0, "endpoint_draining": 10.0, "endpoint_scaling_out": 60.0}
"""Half a second of the wall for what takes minutes at AWS, for tests that don't look at the time between."""
WAITS = (30, 120, 480)
"""Virtual seconds before what failed is tried again, at the least: after the first failure, the second and the third."""
CHANGES = ("Create*", "Update*", "Delete*", "Register*", "Deregister*", "Put*")


def wait_reason(
    kube: Kube, namespace: str, reason: str, *, name: str = "kdd", seconds: float = WAIT_SECONDS
) -> Manifest:
    """The ModelEndpoint once its Ready condition has this reason for the present generation."""
    return kube.wait_ready("ModelEndpoint", namespace, name, reason, seconds=seconds)


def wait_serving(kube: Kube, namespace: str, *, name: str = "kdd", seconds: float = WAIT_SECONDS) -> Manifest:
    """The ModelEndpoint once it serves what its present generation says, and nothing is under way."""

    def served(body: Manifest) -> bool:
        ready = condition(body, "Ready")
        return (
            (ready.get("status"), ready.get("reason")) == ("True", "Serving")
            and ready["observedGeneration"] == body["metadata"]["generation"]
            and body["status"]["sageMaker"]["status"] == "InService"
        )

    return kube.wait("ModelEndpoint", namespace, name, served, seconds=seconds)


def wait_gone(aws: Aws, kube: Kube, namespace: str, *, name: str = "kdd") -> None:
    """Return once neither the object nor anything of its namespace in SageMaker is left."""
    kube.wait_gone("ModelEndpoint", namespace, name)
    wait_for(lambda: not things(aws, namespace), "an empty account", otherwise=lambda: str(things(aws, namespace)))


def message(body: Manifest) -> str:
    """What the Ready condition says."""
    text: str = condition(body, "Ready").get("message", "")
    return text


def standing(body: Manifest) -> tuple[str, str]:
    """Which of Ready, Reconciling and Stalled is True, and why; empty where none is yet."""
    every = (condition(body, kind) for kind in ("Ready", "Reconciling", "Stalled"))
    return next(((each["type"], each["reason"]) for each in every if each.get("status") == "True"), ("", ""))


def reasons(kube: Kube, namespace: str, *, name: str = "kdd") -> list[str]:
    """Reasons of the Events on the object."""
    return [reason for _, reason, _ in kube.events(namespace, name)]


def wait_events(kube: Kube, namespace: str, *wanted: str, name: str = "kdd") -> None:
    """Return once there are Events with these reasons: they are posted after the status is written."""
    wait_for(
        lambda: set(wanted) <= set(reasons(kube, namespace, name=name)),
        f"Events {wanted}",
        otherwise=lambda: str(reasons(kube, namespace, name=name)),
    )


def edit(kube: Kube, namespace: str, spec: Mapping[str, Any], *, name: str = "kdd") -> Manifest:
    """Change fields of the spec, which makes a new generation."""
    return kube.patch("ModelEndpoint", namespace, name, {"spec": dict(spec)})


def new_model(aws: Aws, number: int) -> dict[str, Any]:
    """A change of the spec: another artifact, which is in the bucket."""
    return {"model": {"artifact": {"uri": aws.put_model(f"pretrained/{number}/model.tar.gz")}}}


def region_of(aws: Aws, name: str | None = None, *, account: str | None = None) -> Region:
    """The account in a region, with all that was due there done."""
    with aws.simulator.agenda.lock:
        aws.simulator.agenda.catch_up()
        return aws.simulator.world.region(account, name)


def things(aws: Aws, namespace: str, *, region: str | None = None) -> list[str]:
    """What SageMaker has of a namespace's objects: ``<kind>/<name>``, sorted; no training jobs."""
    with aws.simulator.agenda.lock:
        every = region_of(aws, region).things()
        return sorted(
            f"{each.kind}/{each.name}"
            for each in every
            if each.tags.get("sagebrush.dev/namespace") == namespace and each.kind != "training-job"
        )


def names(aws: Aws, namespace: str, kind: str, *, region: str | None = None) -> list[str]:
    """Names of the namespace's things of this kind, sorted."""
    return [each.partition("/")[2] for each in things(aws, namespace, region=region) if each.startswith(f"{kind}/")]


def the_endpoint(aws: Aws, namespace: str, *, region: str | None = None) -> Endpoint:
    """The one endpoint of a namespace."""
    with aws.simulator.agenda.lock:
        (name,) = names(aws, namespace, "endpoint", region=region)
        return region_of(aws, region).endpoints[name]


def the_config(aws: Aws, namespace: str, *, region: str | None = None) -> Thing:
    """The endpoint configuration that serves."""
    with aws.simulator.agenda.lock:
        found = the_endpoint(aws, namespace, region=region)
        return region_of(aws, region).endpoint_configs[found.fleet.config_name]


def models_of(aws: Aws, config: Thing, *, region: str | None = None) -> dict[str, Thing]:
    """The models of an endpoint configuration by variant."""
    models = region_of(aws, region).models
    return {each["VariantName"]: models[each["ModelName"]] for each in config.request["ProductionVariants"]}


def wait_status(aws: Aws, namespace: str, status: str, *, seconds: float = WAIT_SECONDS) -> Endpoint:
    """The namespace's endpoint in SageMaker once it has this status."""

    def look() -> Endpoint | None:
        with aws.simulator.agenda.lock:
            found = names(aws, namespace, "endpoint")
            endpoint = region_of(aws).endpoints[found[0]] if found else None
            return endpoint if endpoint is not None and endpoint.status == status else None

    return wait_for(
        look,
        f"an endpoint in status {status}",
        seconds=seconds,
        otherwise=lambda: str(
            {name: region_of(aws).endpoints[name].status for name in names(aws, namespace, "endpoint")}
        ),
    )


def finish(aws: Aws, endpoint: Endpoint) -> None:
    """What the endpoint is at ends now."""
    with aws.simulator.agenda.lock:
        aws.simulator.agenda.catch_up()
        following = endpoint._next
        assert following is not None
        following.cancel()
        following.action()


def codes(aws: Aws, operation: str, namespace: str) -> list[str]:
    """How SageMaker answered each of these calls about the namespace's things, in their order."""
    return [entry.code for entry in aws.simulator.audit.calls(operation, resource=f"{namespace}-*")]


def changes(aws: Aws, namespace: str) -> list[str]:
    """Operations that changed something of the namespace's things, or tried to, in their order."""
    prefixes = tuple(each.rstrip("*") for each in CHANGES)
    every = aws.simulator.audit.calls()
    return [
        entry.operation
        for entry in every
        if entry.operation.startswith(prefixes)
        and entry.resource.removeprefix("endpoint/").removeprefix("sagebrush/").startswith(f"{namespace}-")
    ]


def looks(aws: Aws, namespace: str, operation: str = "DescribeEndpoint") -> int:
    """How often the operator has looked at the namespace's things."""
    return aws.simulator.audit.count(operation, resource=f"{namespace}-*")


def wait_looks(aws: Aws, namespace: str, count: int, *, seconds: float = WAIT_SECONDS) -> None:
    """Return once the operator has looked at the endpoint so many times more."""
    before = looks(aws, namespace)
    wait_for(
        lambda: looks(aws, namespace) >= before + count,
        f"{count} more looks",
        seconds=seconds,
        otherwise=lambda: f"{looks(aws, namespace) - before} looks",
    )


def counts(endpoint: Endpoint) -> dict[str, tuple[int, int]]:
    """Current and desired instances by variant."""
    return {each.name: (each.current_count, each.desired_count) for each in endpoint.fleet.variants}


def artifact(number: int) -> str:
    """Where `new_model` puts its models."""
    return f"s3://{BUCKET}/pretrained/{number}/model.tar.gz"
