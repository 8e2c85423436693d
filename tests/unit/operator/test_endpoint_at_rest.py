"""Of an endpoint where nothing is new but the metrics no more is done than decide, and what comes of it is the same."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.backends.cluster import ClusterModelEndpoints
from sagebrush.core import model_endpoint
from sagebrush.core.plan import Apply, Plan
from sagebrush.core.resource import Key, Manifest, Meta
from sagebrush.kube.cache import Cache
from tests.fakes.kubernetes import FakeClient
from tests.fakes.metrics import FakeMetrics, sources
from tests.unit.operator.builders import DEFAULTS, NOON, body, endpoint_document, scaling, serving_pod

KEY = Key("ModelEndpoint", "demo", "kdd")
REPLICAS = 3
ENOUGH = 250.0
"""Requests per minute that three replicas carry, at a target of 100."""


class World:
    """One endpoint with its pods, and a kind that looks at it; the world does what its plans say."""

    def __init__(self, *, forgetful: bool = False) -> None:
        self.cache, self.metrics = Cache(), FakeMetrics(ENOUGH)
        self.forgetful = forgetful
        self.lost = 0
        """How many of the next writes of status fail."""
        self.kind = ClusterModelEndpoints(
            cache=self.cache, client=FakeClient(), defaults=DEFAULTS, scaling=sources(self.metrics)
        )
        self.version, self.now = 1, NOON
        self.cache.put(body("ModelEndpoint", endpoint_document(scaling=scaling(REPLICAS, 9))))
        self.pass_over()
        revision = self.body(KEY)["status"]["revision"]
        for number in range(REPLICAS):
            self.put(serving_pod(revision, name=f"kdd-{number}"))
        for _ in range(2):
            self.pass_over()

    def body(self, key: Key) -> Manifest:
        found = self.cache.get(key)
        assert found is not None
        return found

    def put(self, manifest: Manifest) -> None:
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        self.cache.put({**manifest, "metadata": metadata})

    def change(self, kind: str, name: str, **parts: Any) -> None:
        self.put({**self.body(Key(kind, "demo", name)), **parts})

    def plan(self) -> Plan[Any]:
        if self.forgetful:
            self.kind._rests.clear()
        return asyncio.run(self.kind.plan(KEY, self.body(KEY), now=self.now))

    def pass_over(self) -> Plan[Any]:
        plan = self.plan()
        for action in plan.actions:
            assert isinstance(action, Apply)
            self.put(action.manifest)
        self.kind.acted(Meta.of(self.body(KEY)), plan)
        assert plan.status is not None
        if plan.status.to_dict() != self.body(KEY).get("status"):
            assert not plan.written
            if self.lost:
                self.lost -= 1
            else:
                self.change("ModelEndpoint", "kdd", status=plan.status.to_dict())
        self.now += timedelta(seconds=5)
        return plan


def test_tick_must_do_no_more_than_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is parsed, rendered and compared for a tick that brings nothing but metrics of the same meaning."""
    world = World()
    before = world.pass_over()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a whole pass")

    monkeypatch.setattr(model_endpoint, "reconcile", refuse)
    for rate in (ENOUGH, ENOUGH + 2, ENOUGH - 3):
        world.metrics.rate = rate
        after = world.pass_over()
        assert (before.status, (), ()) == (after.status, after.actions, after.events)
        assert after.decision is not None
        assert rate == after.decision.requests_per_minute


EVENTS = st.one_of(
    st.tuples(st.just("rate"), st.sampled_from([None, 0.0, ENOUGH, 255.0, 290.0, 301.0, 900.0])),
    st.tuples(st.just("pod"), st.sampled_from([True, False])),
    st.tuples(st.just("replicas"), st.sampled_from([3, 4, 6])),
    st.tuples(st.just("policy"), st.sampled_from([50.0, 100.0])),
    st.tuples(st.just("wait"), st.sampled_from([5, 60, 400])),
    st.tuples(st.just("lost"), st.sampled_from([1, 2])),
)


def happen(world: World, event: tuple[str, Any]) -> None:
    """One thing changes in the world."""
    kind, value = event
    if kind == "rate":
        world.metrics.rate = value
    elif kind == "pod":
        revision = world.body(KEY)["status"]["revision"]
        world.put(serving_pod(revision, name="kdd-0", ready=value))
    elif kind == "replicas":
        deployment = world.body(Key("Deployment", "demo", "kdd"))
        world.change("Deployment", "kdd", spec={**deployment["spec"], "replicas": value})
    elif kind == "policy":
        here = world.body(KEY)
        metadata = {**here["metadata"], "generation": here["metadata"]["generation"] + 1}
        document = endpoint_document(scaling=scaling(REPLICAS, 9, value))
        world.change("ModelEndpoint", "kdd", metadata=metadata, spec=document)
    elif kind == "lost":
        world.lost = value
    else:
        world.now += timedelta(seconds=value)


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_plan_must_be_that_of_a_whole_pass(events: list[tuple[str, Any]]) -> None:
    """Whatever happens, what is remembered of an endpoint at rest changes no plan."""
    remembering, forgetful = World(), World(forgetful=True)
    for event in events:
        for world in (remembering, forgetful):
            happen(world, event)
        for _ in range(2):
            assert forgetful.pass_over() == remembering.pass_over()
