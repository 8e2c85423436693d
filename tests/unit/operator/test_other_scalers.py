"""Others' autoscalers on what we scale: found, named, and looked for at little cost."""

import logging
from typing import Any

import pytest

from sagebrush.backends.other_scalers import OtherScalers
from sagebrush.core.other_scalers import Target, conflict_of, scalers_by_target
from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.client import ApiError
from sagebrush.kube.resources import Resource

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "kdd"}
ENDPOINT = {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "ModelEndpoint", "name": "kdd"}


def scaler(target: Manifest, *, kind: str = "HorizontalPodAutoscaler", name: str = "theirs", **meta: Any) -> Manifest:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "demo", **meta},
        "spec": {"scaleTargetRef": target},
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (scaler(DEPLOYMENT), {"Deployment": "HorizontalPodAutoscaler theirs"}),
        (scaler(ENDPOINT), {"ModelEndpoint": "HorizontalPodAutoscaler theirs"}),
        (scaler({"name": "kdd"}, kind="ScaledObject"), {"Deployment": "ScaledObject theirs"}),
        (
            scaler(DEPLOYMENT, name="keda-hpa-x", ownerReferences=[{"kind": "ScaledObject", "name": "x"}]),
            {"Deployment": "ScaledObject x"},
        ),
        (scaler({**DEPLOYMENT, "kind": "StatefulSet"}), {}),
        (scaler({**DEPLOYMENT, "apiVersion": "example.com/v1"}), {}),
        (scaler({**ENDPOINT, "apiVersion": "example.com/v1"}), {}),
        (scaler({}), {}),
    ],
)
def test_scaler_must_be_known_by_its_target(body: Manifest, expected: dict[str, str]) -> None:
    """Kind and group say whether it scales what is ours; KEDA's own HorizontalPodAutoscaler is KEDA's."""
    assert {Target("demo", kind, "kdd"): who for kind, who in expected.items()} == scalers_by_target([body])


def test_two_scalers_must_be_told_once_each() -> None:
    """KEDA's object and the autoscaler that it made are one; two that differ are two."""
    made = scaler(DEPLOYMENT, name="keda-hpa-x", ownerReferences=[{"kind": "ScaledObject", "name": "x"}])
    both = scalers_by_target([scaler(DEPLOYMENT, kind="ScaledObject", name="x"), made, scaler(DEPLOYMENT)])
    assert ["HorizontalPodAutoscaler theirs and ScaledObject x"] == list(both.values())


@pytest.mark.parametrize(
    ("target", "scaled", "expected"),
    [
        (DEPLOYMENT, True, "HorizontalPodAutoscaler theirs scales Deployment kdd"),
        (DEPLOYMENT, False, "HorizontalPodAutoscaler theirs scales Deployment kdd"),
        (ENDPOINT, True, "HorizontalPodAutoscaler theirs scales ModelEndpoint kdd"),
        (ENDPOINT, False, ""),
        ({**DEPLOYMENT, "name": "other"}, True, ""),
    ],
)
def test_conflict_must_be_one_over_the_same_number(target: Manifest, scaled: bool, expected: str) -> None:
    """Without a policy spec.replicas is there to be set by an autoscaler; the Deployment's never is."""
    assert expected == conflict_of(scalers_by_target([scaler(target)]), namespace="demo", name="kdd", scaled=scaled)


class Lists:
    """An API server that lists autoscalers, or refuses to."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[Manifest]] = {}
        self.errors: dict[str, Exception] = {"ScaledObject": ApiError(404, "no such kind")}

    async def list_all(self, resource: Resource, *, namespace: str | None, labels: str = "") -> list[Manifest]:
        if resource.kind in self.errors:
            raise self.errors[resource.kind]
        return self.bodies.get(resource.kind, [])


async def test_look_must_find_what_came_and_went() -> None:
    """Without KEDA as well; news are told for the endpoints concerned, once."""
    client = Lists()
    others = OtherScalers(client=client, namespaces=())
    assert set() == await others.look()
    client.bodies["HorizontalPodAutoscaler"] = [scaler(DEPLOYMENT)]
    assert {Key("ModelEndpoint", "demo", "kdd")} == await others.look()
    assert set() == await others.look()
    assert "theirs" in others.conflict("demo", name="kdd", scaled=True)
    client.bodies.clear()
    assert {Key("ModelEndpoint", "demo", "kdd")} == await others.look()
    assert "" == others.conflict("demo", name="kdd", scaled=True)


@pytest.mark.parametrize("error", [ApiError(500, "down"), ApiError(0, "gone"), OSError("gone"), ApiError(403, "no")])
async def test_failed_look_must_leave_what_is_known(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """An API server that does not answer is no sign that the other one has gone; a refusal is told once, with the remedy."""
    client = Lists()
    others = OtherScalers(client=client, namespaces=("demo",))
    client.bodies["HorizontalPodAutoscaler"] = [scaler(DEPLOYMENT)]
    await others.look()
    client.errors["HorizontalPodAutoscaler"] = error
    with caplog.at_level(logging.WARNING):
        assert set() == await others.look()
        assert set() == await others.look()
    assert others.conflict("demo", name="kdd", scaled=True)
    if isinstance(error, ApiError) and error.status == 403:
        (record,) = caplog.records
        assert "grant list on them" in record.getMessage()
