"""What scaling decisions are made from, for the kinds of both backends: metrics, knowledge, who else scales."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sagebrush.api.scaling import Scaling
from sagebrush.backends.scaling_knowledge import ScalingKnowledge
from sagebrush.core.scaling.compiled import Policy
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Cadence, Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import decide
from sagebrush.core.variant_scaling import Decide
from sagebrush.kube.cache import Cache

__all__ = ["MetricsSource", "Rivals", "ScalingSources", "decide", "timed"]


class MetricsSource(Protocol):
    """Where request metrics come from."""

    def signals(
        self,
        namespace: str,
        *,
        endpoint: str,
        variant: str,
        scaling: Scaling,
        ready_pods: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> Signals:
        """
        What one variant shows at *now* of the operator's clock.

        *ready_pods*: the pods that serve, and when each began to run, where known; None where nobody knows the pods.
        """

    def cadence(self, namespace: str, *, endpoint: str, variant: str, scaling: Scaling) -> Cadence:
        """How old what is seen of it may be."""


class Rivals(Protocol):
    """See :meth:`sagebrush.backends.other_scalers.OtherScalers.conflict`."""

    def __call__(self, namespace: str, *, name: str, scaled: bool) -> str: ...


def _nobody(namespace: str, *, name: str, scaled: bool) -> str:  # noqa: ARG001 - the protocol's names
    return ""


@dataclass(frozen=True, slots=True)
class ScalingSources:
    """Everything that a kind asks for one decision."""

    metrics: MetricsSource
    knowledge: ScalingKnowledge
    rivals: Rivals = _nobody
    decide: Decide = decide

    def forget_gone(self, cache: Cache) -> set[str]:
        """Drop the knowledge of endpoints that are gone; the uids of those that are not."""
        bodies = (cache.get(key) for key in cache.keys("ModelEndpoint"))
        alive = {body["metadata"]["uid"] for body in bodies if body is not None}
        self.knowledge.keep_only(alive)
        return alive


def timed(took: Callable[[float], None]) -> Decide:
    """The policy's decide(), with *took* told of each decision's seconds."""

    def decide_timed(
        policy: Policy, *, signals: Signals, fleet: Fleet, knowledge: Knowledge, history: History, now: datetime
    ) -> Decision:
        begun = time.perf_counter()
        decision = decide(policy, signals=signals, fleet=fleet, knowledge=knowledge, history=history, now=now)
        took(time.perf_counter() - begun)
        return decision

    return decide_timed
