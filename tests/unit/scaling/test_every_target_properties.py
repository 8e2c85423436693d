"""What must hold for every kind of target, every behaviour beside it, and whatever was learned."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sagebrush.api.scaling import Scaling
from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.facts import Fleet, Knowledge, Signals, Startup
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import compile_policy, decide
from sagebrush.core.scaling.window import Problem, Reading
from tests.unit.scaling.builders import NOON, after, scaling

RATES = st.floats(0, 60_000)
TARGETS = st.sampled_from(
    [
        {"latency": "500ms"},
        {"latency": "50ms", "latePercent": 1},
        {"requestsPerMinute": 2000},
        {"inFlight": 4},
        {"percentOfCapacity": 70},
        {"query": {"expression": "x", "perReplica": 3}},
    ]
)
SCHEDULES = [
    {"name": "floor", "cron": "1 12 * * *", "duration": "2m", "minReplicas": 4},
    {"name": "cap", "cron": "2 12 * * *", "duration": "2m", "maxReplicas": 6},
]
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "stepPolicy": st.just({"steps": [{"above": 900, "change": 2}, {"below": 10, "changePercent": -30}]}),
        "schedules": st.just(SCHEDULES),
        "burst": st.sampled_from([{"mode": "Off"}, {"maxPercent": 50, "hold": "10s"}]),
        "prediction": st.sampled_from([{"mode": "Off"}, {"mode": "Observe"}, {"maxReplicas": 5}]),
        "scaleOutLimit": st.just({"replicas": 2, "period": "20s"}),
        "scaleInLimit": st.just({"percent": 20, "period": "20s"}),
        "scaleOutCooldown": st.sampled_from(["0s", "20s"]),
        "scaleInCooldown": st.sampled_from(["0s", "20s", "5m"]),
        "mode": st.just("Recommend"),
    },
)
CALIBRATIONS = st.one_of(
    st.none(),
    st.builds(
        Calibration,
        learned=st.just(""),
        learned_at=st.just(NOON),
        newest=st.booleans(),
        rise=st.sampled_from([0.0, 1.0, 1.5]),
        hold_seconds=st.sampled_from([60.0, 300.0]),
        headroom=st.floats(0.8, 2.5),
        season=st.just(tuple(float(step % 288) for step in range(288))),
        usual=st.just(tuple(0.5 * (step % 288) for step in range(288))),
        dispersion=st.sampled_from([1.0, 9.0]),
    ),
)


@dataclass(frozen=True)
class Tick:
    seconds: int
    rate: float | None
    short: float
    problem: Problem | None
    waiting: float | None
    busy: float | None
    ready_share: float

    def signals(self, *, factor: float = 1.0) -> Signals:
        rate = None if self.rate is None else self.rate * factor
        short = None if self.rate is None else self.short * factor
        problem = self.problem or (Problem.SOURCE if rate is None else None)
        return Signals(
            Reading(short, NOON, complete=problem is None, problem=problem, span=timedelta(seconds=6)),
            Reading(rate, NOON, complete=problem is None, problem=problem, span=timedelta(seconds=60)),
            waiting=self.waiting,
            in_flight=None if rate is None else rate / 600,
            refused_per_minute=self.waiting,
            busy=self.busy,
            value=None if rate is None else rate / 1000,
        )


TICKS = st.lists(
    st.builds(
        Tick,
        seconds=st.integers(1, 40),
        rate=st.one_of(RATES, RATES, RATES, st.none()),
        short=RATES,
        problem=st.sampled_from([None, None, None, Problem.PARTIAL]),
        waiting=st.one_of(st.none(), st.floats(0, 500)),
        busy=st.sampled_from([None, 0.2, 0.75, 1.0]),
        ready_share=st.floats(0, 1),
    ),
    min_size=1,
    max_size=15,
)


@st.composite
def policies(draw: st.DrawFn) -> Scaling:
    fields: dict[str, Any] = {"target": draw(TARGETS), **draw(EXTRAS)}
    if draw(st.booleans()):
        fields["capacity"] = {"requestsPerSecond": 20, "concurrency": 4}
    return scaling(maximum=draw(st.integers(4, 40)), minReplicas=draw(st.integers(1, 3)), **fields)


@st.composite
def knowledges(draw: st.DrawFn) -> Knowledge:
    startup = Startup.of((draw(st.sampled_from([3.0, 360.0])),))
    return Knowledge(startup=startup, serialised=draw(st.booleans()), calibration=draw(CALIBRATIONS))


@dataclass(frozen=True)
class Moment:
    tick: Tick
    before: int
    decision: Decision


def story(policy: Scaling, ticks: list[Tick], *, knowledge: Knowledge, replicas: int) -> list[Moment]:
    moments, history, time = [], History(), 0.0
    compiled = compile_policy(policy)
    for tick in ticks:
        time += tick.seconds
        ready = round(replicas * tick.ready_share)
        decision = decide(
            compiled,
            signals=tick.signals(),
            fleet=Fleet(replicas, ready, replicas - ready),
            knowledge=knowledge,
            history=history,
            now=after(time),
        )
        moments.append(Moment(tick, replicas, decision))
        replicas, history = decision.replicas, decision.history
        knowledge = replace(knowledge, capacity=decision.capacity)
    return moments


@settings(max_examples=40, deadline=None)
@given(policy=policies(), knowledge=knowledges(), ticks=TICKS, replicas=st.integers(0, 50))
def test_decide_must_keep_bounds_and_hold_on_missing_data(
    policy: Scaling, knowledge: Knowledge, ticks: list[Tick], replicas: int
) -> None:
    """Within the bounds, never lower on missing or partial data but for a bound, and always explained."""
    cap = min([policy.max_replicas, *(each.max_replicas for each in policy.schedules if each.max_replicas)])
    for moment in story(policy, ticks, knowledge=knowledge, replicas=replicas):
        decision = moment.decision
        chosen = decision.replicas if decision.recommended is None else decision.recommended
        assert policy.min_replicas <= chosen <= policy.max_replicas
        if decision.recommended is not None:
            assert not decision.changed
        query = policy.target.query is not None
        if moment.tick.rate is None or (moment.tick.problem is not None and not query):
            assert chosen >= min(moment.before, cap)
        assert decision.message
        assert all(str(each.why) for each in decision.proposals)
        assert len(decision.proposals) <= 8
        assert str(decision.target_words) or decision.value is None


@settings(max_examples=30, deadline=None)
@given(policy=policies(), knowledge=knowledges(), ticks=TICKS)
def test_decide_must_give_the_same_answer_to_the_same_question(
    policy: Scaling, knowledge: Knowledge, ticks: list[Tick]
) -> None:
    """No clock, no chance, nothing remembered outside the arguments."""
    stories = [story(policy, ticks, knowledge=knowledge, replicas=1) for _ in range(2)]
    assert stories[0] == stories[1]


@settings(max_examples=40, deadline=None)
@given(policy=policies(), knowledge=knowledges(), ticks=TICKS, factor=st.floats(1, 50))
def test_decide_must_be_monotone_in_the_load(
    policy: Scaling, knowledge: Knowledge, ticks: list[Tick], factor: float
) -> None:
    """From the same past, and with the same capacity, more load never gives fewer replicas."""
    assume(policy.mode == "Auto")
    past = story(policy, ticks, knowledge=knowledge, replicas=3)[-1].decision
    last = replace(ticks[-1], rate=ticks[-1].rate or 100.0, waiting=None, busy=None, problem=None)
    time = after(sum(tick.seconds for tick in ticks) + 2)
    numbers = [
        decide(
            compile_policy(policy),
            signals=last.signals(factor=each),
            fleet=Fleet(past.replicas, past.replicas),
            knowledge=replace(knowledge, capacity=past.capacity),
            history=past.history,
            now=time,
        ).replicas
        for each in (1.0, factor)
    ]
    assert numbers[0] <= numbers[1]


@settings(max_examples=15, deadline=None)
@given(policy=policies(), knowledge=knowledges(), ticks=TICKS, rate=RATES)
def test_decide_must_come_to_rest_under_a_constant_load(
    policy: Scaling, knowledge: Knowledge, ticks: list[Tick], rate: float
) -> None:
    """Whatever came before: after some periods of the same load the number stays what it is."""
    calm = Tick(20, rate, rate, None, None, None, 1.0)
    policy = policy.model_copy(update={"schedules": []})
    knowledge = replace(knowledge, calibration=knowledge.calibration and replace(knowledge.calibration, season=()))
    moments = story(policy, [*ticks, *[calm] * 180], knowledge=knowledge, replicas=3)
    assert len({moment.decision.replicas for moment in moments[-10:]}) == 1


@settings(max_examples=30, deadline=None)
@given(policy=policies(), knowledge=knowledges(), ticks=TICKS)
def test_prediction_must_only_raise(policy: Scaling, knowledge: Knowledge, ticks: list[Tick]) -> None:
    """From the same past, with a season never fewer than without."""
    assume(knowledge.calibration is not None)
    past = story(policy, ticks, knowledge=knowledge, replicas=3)[-1].decision
    now = after(sum(tick.seconds for tick in ticks) + 2)
    plain = replace(knowledge, calibration=knowledge.calibration and replace(knowledge.calibration, season=()))
    numbers = [
        decide(
            compile_policy(policy.model_copy(update={"mode": "Auto"})),
            signals=ticks[-1].signals(),
            fleet=Fleet(past.replicas, past.replicas),
            knowledge=replace(each, capacity=past.capacity),
            history=past.history,
            now=now,
        ).replicas
        for each in (plain, knowledge)
    ]
    assert numbers[0] <= numbers[1]
