"""What must hold for every load, every failure of the metrics and every policy."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.scaling import Scaling, ScalingTarget
from sagebrush.core.scaling.facts import Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, compile_policy, decide
from sagebrush.core.scaling.window import Problem, Reading

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
PERIODS = st.sampled_from([0, 4, 20, 60])


@dataclass(frozen=True)
class Tick:
    rate: float | None
    problem: Problem | None
    seconds: int

    @property
    def reading(self) -> Reading:
        return Reading(self.rate, NOON, complete=self.problem is None, problem=self.problem, span=timedelta(seconds=60))


RATES = st.floats(0, 20_000)
GOOD = st.builds(Tick, RATES, st.none(), st.integers(1, 20))
PARTIAL = st.builds(Tick, RATES, st.sampled_from([Problem.PARTIAL, Problem.FILLING]), st.integers(1, 20))
BLIND = st.builds(
    Tick, st.none(), st.sampled_from([Problem.SOURCE, Problem.NO_DATA, Problem.STALE]), st.integers(1, 60)
)
TICKS = st.lists(st.one_of(GOOD, GOOD, PARTIAL, BLIND), min_size=1, max_size=60)


@st.composite
def policies(draw: st.DrawFn) -> Scaling:
    minimum = draw(st.integers(1, 5))
    return Scaling(
        min_replicas=minimum,
        max_replicas=draw(st.integers(minimum, 12)),
        target=ScalingTarget(requests_per_minute=draw(st.sampled_from([0.5, 60.0, 2000.0]))),
        scale_out_cooldown=f"{draw(PERIODS)}s",
        scale_in_cooldown=f"{draw(PERIODS)}s",
    )


@dataclass(frozen=True)
class Step:
    time: float
    tick: Tick
    before: int
    decision: Decision


def story(policy: Scaling, ticks: list[Tick], *, replicas: int) -> list[Step]:
    steps, history, time = [], History(), 0.0
    compiled = compile_policy(policy)
    for tick in ticks:
        time += tick.seconds
        decision = decide(
            compiled,
            signals=Signals(short=tick.reading, long=tick.reading),
            fleet=Fleet(replicas=replicas, ready=replicas),
            knowledge=Knowledge(),
            history=history,
            now=NOON + timedelta(seconds=time),
        )
        steps.append(Step(time, tick, replicas, decision))
        replicas, history = decision.replicas, decision.history
    return steps


def cooldown_of(text: str) -> int:
    return int(text.removesuffix("s"))


@given(policy=policies(), ticks=TICKS, replicas=st.integers(0, 15))
def test_decide_must_stay_within_the_bounds(policy: Scaling, ticks: list[Tick], replicas: int) -> None:
    """Whatever happens, the number is between minReplicas and maxReplicas."""
    for step in story(policy, ticks, replicas=replicas):
        assert policy.min_replicas <= step.decision.replicas <= policy.max_replicas


@given(policy=policies(), ticks=TICKS, replicas=st.integers(0, 15))
def test_decide_must_never_lower_on_data_that_are_not_whole(policy: Scaling, ticks: list[Tick], replicas: int) -> None:
    """Missing, stale and partial data never remove a replica that the bounds allow."""
    for step in story(policy, ticks, replicas=replicas):
        if step.tick.problem is not None:
            assert step.decision.replicas >= min(step.before, policy.max_replicas)
        if step.tick.rate is None:
            assert step.decision.replicas == max(policy.min_replicas, min(step.before, policy.max_replicas))


@settings(max_examples=100)
@given(policy=policies(), ticks=TICKS, data=st.data())
def test_decide_must_never_scale_in_before_a_full_period(
    policy: Scaling, ticks: list[Tick], data: st.DataObject
) -> None:
    """A scale-in has a whole period behind it: data without a long gap, no change, and never a demand for more."""
    replicas = data.draw(st.integers(policy.min_replicas, policy.max_replicas))
    steps = story(policy, ticks, replicas=replicas)
    period = cooldown_of(policy.scale_in_cooldown)
    for number, step in enumerate(steps):
        if step.decision.replicas >= step.before:
            continue
        begin = step.time - period
        behind = [other for other in steps[: number + 1] if other.time >= begin]
        assert not any(other.decision.changed for other in behind if other is not step and other.time > begin)
        good = [other.time for other in steps[: number + 1] if other.tick.problem is None]
        assert min(good) <= begin
        within = [max(time for time in good if time <= begin), *[time for time in good if time > begin]]
        assert all(later - earlier <= 30 for earlier, later in pairwise(within))
        demand = max(other.tick.rate or 0 for other in behind)
        assert step.decision.replicas * policy.target.requests_per_minute * 0.9 >= demand * 0.999999 or (
            step.decision.replicas == policy.max_replicas
        )


@given(policy=policies(), ticks=TICKS, factor=st.floats(1, 100), data=st.data())
def test_decide_must_be_monotone_in_the_load(
    policy: Scaling, ticks: list[Tick], factor: float, data: st.DataObject
) -> None:
    """From the same past, more load never gives fewer replicas."""
    steps = story(policy, ticks, replicas=data.draw(st.integers(policy.min_replicas, policy.max_replicas)))
    last, history = steps[-1].decision, steps[-1].decision.history
    now = NOON + timedelta(seconds=steps[-1].time + 1)
    short, long = data.draw(RATES), data.draw(RATES)

    def at(load: float) -> int:
        readings = [
            Reading(rate * load, NOON, complete=True, span=timedelta(seconds=span))
            for rate, span in ((short, 6), (long, 60))
        ]
        return decide(
            compile_policy(policy),
            signals=Signals(short=readings[0], long=readings[1]),
            fleet=Fleet(replicas=last.replicas, ready=1),
            knowledge=Knowledge(),
            history=history,
            now=now,
        ).replicas

    assert at(factor) >= at(1)


@given(policy=policies(), ticks=TICKS)
def test_decide_must_give_the_same_answer_to_the_same_question(policy: Scaling, ticks: list[Tick]) -> None:
    """No clock, no chance, nothing remembered outside the arguments."""
    assert story(policy, ticks, replicas=1) == story(policy, ticks, replicas=1)


@given(policy=policies(), ticks=TICKS, replicas=st.integers(1, 12))
def test_decide_must_reach_the_minimum_when_nothing_comes(policy: Scaling, ticks: list[Tick], replicas: int) -> None:
    """After whatever has happened: two periods of true zeros, and only the minimum is left."""
    quiet = [Tick(0, None, 2)] * (cooldown_of(policy.scale_in_cooldown) + 2)
    last = story(policy, [*ticks, *quiet], replicas=replicas)[-1].decision
    assert last.replicas == policy.min_replicas
