"""One variant's decision, conditions and Events, whatever its backend."""

from dataclasses import replace
from typing import Any

import pytest

from sagebrush.api.meta import Condition, ConditionStatus
from sagebrush.api.scaling import Scaling
from sagebrush.api.scaling_status import ScalingProposal, ScalingStatus
from sagebrush.core.conditions import Reason
from sagebrush.core.plan import SpecError
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Fleet, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.variant_scaling import ScalingFacts, decided, is_active, scaling_conditions, turns
from tests.fakes.metrics import reading
from tests.unit.operator.builders import at, scaling

THEIRS = "HorizontalPodAutoscaler theirs scales Deployment kdd"


def load(rate: float | None, **more: Any) -> ScalingFacts:
    return ScalingFacts(Signals(reading(rate), reading(rate)), **more)


def made(facts: ScalingFacts, *, replicas: int = 1, **policy: Any) -> Decision:
    wanted = Scaling.model_validate({**scaling(), **policy})
    return decided(wanted, facts, fleet=Fleet(replicas, replicas), before=None, now=at(0))


@pytest.mark.parametrize("replicas", [1, 4, 9])
def test_rival_must_have_the_number(replicas: int) -> None:
    """Whatever the load and the bounds: the number stays, what we would do is told, and no change is remembered."""
    decision = made(load(390, rival=THEIRS), replicas=replicas)
    assert (replicas, False) == (decision.replicas, decision.changed)
    assert decision.recommended is not None
    assert 1 <= decision.recommended <= 5
    assert ScalingReason.OTHER_SCALER is decision.reason
    assert THEIRS in decision.message
    assert decision.history.last_change is None
    assert not is_active(decision)


@pytest.mark.parametrize("mode", ["Recommend", "Off"])
def test_rival_must_be_no_conflict_where_we_change_nothing(mode: str) -> None:
    """Who leaves the number to another says so with mode, and hears nothing of it."""
    decision = made(load(390, rival=THEIRS), mode=mode)
    assert ScalingReason.OTHER_SCALER is not decision.reason
    assert (1, 4 if mode == "Recommend" else None) == (decision.replicas, decision.recommended)
    status = ScalingStatus(desired_replicas=1, reason="", message="")
    assert ["ScalingLimited"] == [fact[0] for fact in scaling_conditions({"": status}, {"": decision})]


def test_schedule_that_means_nothing_must_be_the_users_to_mend() -> None:
    """Only a cron parser knows: the schema can't."""
    with pytest.raises(SpecError, match="schedule night"):
        made(load(10), schedules=[{"name": "night", "cron": "99 0 * * *", "duration": "1h", "minReplicas": 2}])


def status(limited_by: str | None, *, desired: int = 5, asks: int = 8) -> ScalingStatus:
    return ScalingStatus(
        desired_replicas=desired,
        reason="AtMaximum",
        message="",
        limited_by=limited_by,
        proposals=[ScalingProposal(by="Target", replicas=asks, why="")],
    )


DECISION = Decision(5, 5, ScalingReason.WITHIN_TARGET, "", History(), requests_per_minute=1.0)


@pytest.mark.parametrize(
    ("limited_by", "expected"),
    [
        ("maxReplicas", (True, "BoundReached", "maxReplicas holds the number at 5, where Target asks for 8")),
        ("schedule night", (True, "BoundReached", "schedule night holds the number at 5, where Target asks for 8")),
        ("scaleInCooldown", (False, "WithinBounds", "")),
        ("metrics", (False, "WithinBounds", "")),
        (None, (False, "WithinBounds", "")),
    ],
)
def test_limited_must_be_the_owners_numbers(limited_by: str | None, expected: tuple[bool, str, str]) -> None:
    """What binds is named with what was wanted; time and data, which mend themselves, are no bounds."""
    (fact,) = scaling_conditions({"": status(limited_by)}, {"": DECISION})
    assert ("ScalingLimited", *expected) == fact


def test_conditions_must_name_the_variant_of_several() -> None:
    """With one variant its name says nothing."""
    budget = replace(DECISION, unattainable="replicas take 400 s; with 60 s it could be held")
    facts = scaling_conditions({"a": status("maxReplicas"), "b": status(None)}, {"a": DECISION, "b": budget})
    assert ["ScalingLimited", "BudgetUnattainable"] == [fact[0] for fact in facts]
    assert facts[0][3].startswith("variant a: maxReplicas")
    assert "variant b: replicas take 400 s; with 60 s it could be held" == facts[1][3]
    assert () == scaling_conditions({}, {})


def condition(kind: str, truth: str = "True") -> Condition:
    return Condition(type=kind, status=ConditionStatus(truth), last_transition_time=at(0), reason="x")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([], True, [("ScalingConflict", True)]),
        ([condition("ScalingConflict")], True, []),
        ([condition("ScalingConflict")], False, [("ScalingConflictOver", False)]),
        ([condition("ScalingConflict", "False")], True, [("ScalingConflict", True)]),
        ([], False, []),
    ],
)
def test_turns_must_be_told_once(before: list[Condition], now: bool, expected: list[tuple[str, bool]]) -> None:
    """An Event when it begins, and one when it ends."""
    facts = (("ScalingConflict", True, "OtherScaler", THEIRS),) if now else ()
    assert expected == [(event.reason, event.warning) for event in turns(before, facts)]


def test_reasons_of_scaling_must_not_be_those_of_readiness() -> None:
    """A program that looks for one of them must not find the other."""
    assert not {str(reason) for reason in ScalingReason} & {str(reason) for reason in Reason}
