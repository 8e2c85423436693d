"""What a ModelEndpoint on the cluster hands to the policy, and what it makes of other scalers."""

from typing import Any

import pytest

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.scaling_status import CapacityStatus, ScalingStatus
from sagebrush.core.conditions import find
from sagebrush.core.model_endpoint import Observed, fleet_of, reconcile
from sagebrush.core.plan import Apply, Plan
from sagebrush.core.resource import Manifest
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Fleet
from sagebrush.core.scaling.policy import decide
from sagebrush.core.variant_scaling import ScalingFacts
from tests.unit.operator.builders import DEFAULTS, META, at, ended, endpoint_spec, pod, scaling, serving_pod

THEIRS = "HorizontalPodAutoscaler theirs scales Deployment kdd"
REF = {"trainingJobRef": {"name": "nobody"}}


def plan(observed: Observed, *, status: ModelEndpointStatus | None = None, **spec: Any) -> Plan[ModelEndpointStatus]:
    return reconcile(
        META, endpoint_spec(**spec), status or ModelEndpointStatus(), observed, defaults=DEFAULTS, now=at(0)
    )


def deployment(made: Plan[Any]) -> Manifest:
    (found,) = [a.manifest for a in made.actions if isinstance(a, Apply) and a.manifest["kind"] == "Deployment"]
    return found


def test_fleet_must_count_what_serves_and_what_starts() -> None:
    """Pods on the way are capacity to come; those that leave or have ended are none."""
    seen: list[Fleet] = []

    def spy(policy: Any, *, fleet: Fleet, **more: Any) -> Decision:
        seen.append(fleet)
        return decide(policy, fleet=fleet, **more)

    pods = (
        serving_pod("r1", name="ready"),
        serving_pod("r1", name="starting", ready=False),
        serving_pod("r0", name="starting-too", ready=False),
        serving_pod("r1", name="leaving", deleting=True),
        serving_pod("r1", ended("serve", 1), name="over", ready=False, phase="Failed"),
    )
    ours = {"spec": {"replicas": 3}, "metadata": {"ownerReferences": [{"uid": META.uid}]}}
    plan(
        Observed(deployment=ours, pods=pods, scaling=ScalingFacts(decide=spy)),
        scaling=scaling(),
    )
    assert [Fleet(replicas=3, ready=1, starting=2)] == seen


def test_fleet_must_tell_since_when_any_pod_has_served() -> None:
    """The pod that has been ready for the longest; one that is not ready any more says nothing."""

    def ready(name: str, seconds: float, *, status: str = "True") -> Manifest:
        condition = {"type": "Ready", "status": status, "lastTransitionTime": at(seconds).isoformat()}
        return pod(name=name, conditions=[condition])

    pods = (ready("late", 40), ready("early", 20), ready("lost", 5, status="False"))
    fleet = fleet_of(endpoint_spec(), ModelEndpointStatus(), Observed(pods=pods))
    assert (fleet.ready, fleet.served_since) == (2, at(20))
    assert fleet_of(endpoint_spec(), ModelEndpointStatus(), Observed()).served_since is None


def test_measured_must_stay_while_there_is_nothing_to_decide() -> None:
    """An endpoint that waits for its model keeps what a capacity test found; one without a policy keeps nothing."""
    capacity = CapacityStatus(requests_per_second=50, source="Tested", measured_at=at(0))
    before = ModelEndpointStatus(
        scaling=ScalingStatus(desired_replicas=2, reason="WithinTarget", message="", capacity=capacity)
    )
    waiting = plan(Observed(), status=before, model=REF, scaling=scaling()).status
    assert waiting is not None
    assert before.scaling == waiting.scaling
    without = plan(Observed(), status=before).status
    assert without is not None
    assert without.scaling is None


@pytest.mark.parametrize(("rival", "expected"), [(THEIRS, 7), ("", 2)])
def test_stated_replicas_must_yield_to_an_autoscaler(rival: str, expected: int) -> None:
    """Without a policy spec.replicas is the number, unless somebody's autoscaler sets that of the Deployment."""
    made = plan(Observed(), replicas=2)
    theirs = deployment(made)
    theirs["spec"]["replicas"] = 7
    service = next(a.manifest for a in made.actions if isinstance(a, Apply) and a.manifest["kind"] == "Service")
    seen = Observed(deployment=theirs, service=service, scaling=ScalingFacts(rival=rival))
    after = plan(seen, status=made.status, replicas=2)
    assert expected == (7 if after.actions == () else deployment(after)["spec"]["replicas"])
    assert after.status is not None
    told = find(after.status.conditions, "ScalingConflict")
    assert bool(rival) is (told is not None)
    if told:
        assert THEIRS in told.message
        assert "mode Off" in told.message
        assert ["ScalingConflict"] == [event.reason for event in after.events]
