"""What the policy decides, case by case; the properties that must hold for all cases are in test_policy_properties."""

from datetime import UTC, datetime, timedelta

import pytest

from sagebrush.api.scaling import Scaling, ScalingTarget
from sagebrush.api.scaling_status import ScalingDecision
from sagebrush.core.scaling.facts import Fleet, Knowledge, Signals
from sagebrush.core.scaling.history import History
from sagebrush.core.scaling.policy import Decision, ScalingReason, compile_policy, decide, demand_of
from sagebrush.core.scaling.window import Problem, Reading, unknown

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
TARGET = 2000.0


def policy(minimum: int = 1, maximum: int = 6, target: float = TARGET, out: str = "0s", in_: str = "5m") -> Scaling:
    return Scaling(
        min_replicas=minimum,
        max_replicas=maximum,
        target=ScalingTarget(requests_per_minute=target),
        scale_out_cooldown=out,
        scale_in_cooldown=in_,
    )


def seen(
    rate: float | None,
    *,
    problem: Problem | None = None,
    message: str = "",
    seconds: float = 60,
    newest: datetime = NOON,
) -> Reading:
    return Reading(
        rate, newest, complete=problem is None, problem=problem, message=message, span=timedelta(seconds=seconds)
    )


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def one(
    long: Reading | float,
    *,
    replicas: int = 1,
    short: Reading | None = None,
    scaling: Scaling | None = None,
    history: History | None = None,
    ready: int | None = None,
    served_since: datetime | None = None,
    now: datetime = NOON,
) -> Decision:
    long = long if isinstance(long, Reading) else seen(long)
    return decide(
        compile_policy(scaling or policy()),
        signals=Signals(short=short or long, long=long),
        fleet=Fleet(replicas, ready=replicas if ready is None else ready, served_since=served_since),
        knowledge=Knowledge(),
        history=history or History(),
        now=now,
    )


class Loop:
    """The loop around the policy: it carries out each decision."""

    def __init__(self, scaling: Scaling | None = None, *, replicas: int = 1, history: History | None = None) -> None:
        self.policy, self.replicas, self.history, self.time = scaling or policy(), replicas, history or History(), 0.0
        self.last: Decision | None = None
        self.served_since: datetime | None = None

    def tick(self, rate: float | Reading, *, seconds: float = 2) -> Decision:
        self.time += seconds
        self.last = one(
            rate,
            replicas=self.replicas,
            scaling=self.policy,
            history=self.history,
            served_since=self.served_since,
            now=after(self.time),
        )
        self.replicas, self.history = self.last.replicas, self.last.history
        return self.last

    def run(self, rate: float | Reading, *, seconds: float, step: float = 2) -> Decision:
        for _ in range(int(seconds / step)):
            decision = self.tick(rate, seconds=step)
        return decision


@pytest.mark.parametrize(
    ("rate", "replicas", "expected", "reason"),
    [
        (6210, 1, 4, ScalingReason.ABOVE_TARGET),
        (2001, 1, 2, ScalingReason.ABOVE_TARGET),
        (2000, 1, 1, ScalingReason.WITHIN_TARGET),
        (6000, 3, 3, ScalingReason.WITHIN_TARGET),
        (6000.0000001, 3, 3, ScalingReason.WITHIN_TARGET),  # the rounding of a float is no request
        (20_000, 1, 6, ScalingReason.ABOVE_TARGET),
        (20_000, 6, 6, ScalingReason.AT_MAXIMUM),
        (1e300, 1, 6, ScalingReason.ABOVE_TARGET),
        (3700, 2, 2, ScalingReason.WITHIN_TARGET),
        (1900, 2, 2, ScalingReason.WITHIN_TARGET),  # one would do, but carry more than 90 % of its target
        (1800, 2, 2, ScalingReason.SCALE_IN_STABILIZING),
        (0, 1, 1, ScalingReason.AT_MINIMUM),
        (0, 3, 3, ScalingReason.SCALE_IN_STABILIZING),
    ],
)
def test_decide_must_follow_the_demand_outwards_at_once(
    rate: float, replicas: int, expected: int, reason: ScalingReason
) -> None:
    """Replicas are requests per minute over the target, rounded up, within the bounds."""
    decision = one(rate, replicas=replicas)
    assert (decision.replicas, decision.reason, decision.changed) == (expected, reason, expected != replicas)


def test_decide_must_say_what_it_does_in_a_sentence() -> None:
    """The message has the demand, the target, the change and the bound."""
    assert one(6210).message == (
        "6210 requests/min over 1 replica is above the target of 2000 per replica: scaling out from 1 to 4 (maximum 6)"
    )
    assert one(20_000, replicas=2, ready=1).message == (
        "20000 requests/min over 2 replicas (1 ready) is above the target of 2000 per replica: "
        "scaling out from 2 to 6 (10 wanted, maximum 6)"
    )


@pytest.mark.parametrize(
    ("short", "long", "expected"),
    [
        (6000, 1000, 6000),  # a step
        (600, 1000, 1000),  # a dip: the longer memory counts
        (2150, 1900, 1900),  # 215 where 190 were to be expected in 6 s: chance
        (2400, 1900, 2400),  # 240 where 190 were: 3.6 sigma
        (20, 0, 0),  # two requests after silence
        (40, 0, 40),  # four
    ],
)
def test_demand_must_take_the_short_window_only_beyond_chance(short: float, long: float, expected: float) -> None:
    """Six seconds hold few requests: what Poisson arrivals do by chance scales nothing out."""
    assert demand_of(short=seen(short, seconds=6), long=seen(long)) == expected


def test_demand_must_use_whichever_window_is_known() -> None:
    """One window is better than none."""
    none = seen(None, problem=Problem.TOO_SHORT)
    assert demand_of(short=seen(5), long=none) == 5
    assert demand_of(short=none, long=seen(7)) == 7
    assert demand_of(short=none, long=none) is None


def test_decide_must_scale_out_within_seconds_of_a_step_just_over_the_target() -> None:
    """6 s after 2300 requests/min came out of nothing, the long window shows a tenth of it: the short one decides."""
    decision = one(seen(230), short=seen(2300, seconds=6))
    assert (decision.replicas, decision.requests_per_minute) == (2, 2300)


@pytest.mark.parametrize(("rate", "told"), [(0, "0"), (0.004, "0"), (1.094, "1.09"), (9.5, "9.5"), (59.6, "60")])
def test_decide_must_tell_small_loads_with_decimals(rate: float, told: str) -> None:
    """An endpoint with one request in ten minutes is not one with none, and six digits are no figure."""
    assert one(rate).message.startswith(f"{told} requests/min over 1 replica")


def test_decide_must_scale_in_after_the_whole_period_and_not_a_tick_before() -> None:
    """Five minutes of complete data below, then in one step to what was enough for all of them."""
    loop = Loop(replicas=4)
    loop.tick(100)
    begun = loop.time
    while loop.time < begun + 298:
        decision = loop.tick(100)
        assert (decision.replicas, decision.reason) == (4, ScalingReason.SCALE_IN_STABILIZING)
        assert decision.next_change_not_before == after(begun + 300)
    decision = loop.tick(100)
    assert (decision.replicas, decision.reason) == (1, ScalingReason.BELOW_TARGET)
    assert decision.message.endswith("scaling in from 4 to 1, enough for all of the last 5 min")


def test_decide_must_scale_in_to_the_most_that_the_period_needed() -> None:
    """HPA's stabilisation: a minute that needed three keeps three."""
    loop = Loop(replicas=6)
    loop.run(100, seconds=200)
    loop.run(5000, seconds=60)
    loop.run(100, seconds=40)
    decision = loop.tick(100)
    assert (decision.replicas, decision.reason) == (3, ScalingReason.BELOW_TARGET)


def test_decide_must_wait_until_the_last_peak_is_a_period_old() -> None:
    """A peak that needs all replicas begins the wait anew, and the message says which."""
    loop = Loop(replicas=2)
    loop.run(100, seconds=200)
    loop.tick(3950)
    loop.tick(3900)
    peak = loop.time
    decision = loop.run(100, seconds=290)
    assert (decision.replicas, decision.reason) == (2, ScalingReason.SCALE_IN_STABILIZING)
    assert decision.next_change_not_before == after(peak + 300)
    assert "3900 requests/min at 12:03:24 needed 2" in decision.message
    assert loop.run(100, seconds=12).replicas == 1


def test_decide_must_not_scale_in_within_the_cooldown_of_a_change() -> None:
    """After a scale-out, or a scale-in, a full period passes before the next scale-in."""
    history = History(trusted_since=after(-400), trusted_until=after(-2), last_scale_out=after(-299))
    decision = one(100, replicas=3, history=history)
    assert (decision.replicas, decision.reason) == (3, ScalingReason.SCALE_IN_COOLDOWN)
    assert decision.next_change_not_before == after(1)
    assert one(100, replicas=3, history=decision.history, now=after(1)).replicas == 1


def test_decide_must_honour_the_scale_out_cooldown() -> None:
    """A second scale-out waits; the time it waits for is told."""
    loop = Loop(policy(out="30s"))
    assert loop.tick(3000).replicas == 2
    decision = loop.run(9000, seconds=28)
    assert (decision.replicas, decision.reason) == (2, ScalingReason.SCALE_OUT_COOLDOWN)
    assert decision.next_change_not_before == after(32)
    assert loop.tick(9000).replicas == 5


def test_decide_must_scale_out_during_the_cooldown_of_a_scale_in() -> None:
    """Fewer replicas a moment ago are no reason to refuse more now."""
    history = History(last_scale_in=after(-1))
    assert one(9000, scaling=policy(out="10m"), history=history).replicas == 5


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem.SOURCE, ScalingReason.METRICS_MISSING),
        (Problem.NO_DATA, ScalingReason.METRICS_MISSING),
        (Problem.STALE, ScalingReason.METRICS_STALE),
        (Problem.TOO_SHORT, ScalingReason.METRICS_FILLING),
    ],
)
def test_decide_must_hold_without_data_and_say_since_when(problem: Problem, reason: ScalingReason) -> None:
    """An outage holds the number for as long as it lasts; status tells the first moment of it."""
    loop = Loop(policy(in_="10s"), replicas=4)
    loop.run(0, seconds=8)
    blind = unknown(problem, message="connection refused").long
    loop.tick(blind)
    decision = loop.run(blind, seconds=2400)
    assert (decision.replicas, decision.reason, decision.requests_per_minute) == (4, reason, None)
    assert decision.message == (
        "no usable request metrics since 2026-08-01 12:00:10 UTC, connection refused: holding 4 replicas"
    )


def test_decide_must_begin_the_period_anew_after_an_outage() -> None:
    """What came while nothing was seen is not known to have been little."""
    loop = Loop(policy(in_="60s"), replicas=4)
    loop.run(100, seconds=58)
    loop.run(unknown(Problem.STALE, message="old").long, seconds=40)
    assert loop.run(100, seconds=58).replicas == 4
    assert loop.run(100, seconds=4).replicas == 1


def test_decide_must_not_begin_anew_for_one_lost_answer() -> None:
    """A gap that the long window bridges costs nothing."""
    loop = Loop(policy(in_="60s"), replicas=4)
    loop.run(100, seconds=30)
    loop.run(unknown(Problem.SOURCE, message="timeout").long, seconds=6)
    assert loop.run(100, seconds=26).replicas == 1


@pytest.mark.parametrize(
    ("problem", "reason"),
    [(Problem.PARTIAL, ScalingReason.METRICS_PARTIAL), (Problem.FILLING, ScalingReason.METRICS_FILLING)],
)
def test_decide_must_scale_out_and_never_in_on_partial_data(problem: Problem, reason: ScalingReason) -> None:
    """What was seen is the least there was."""
    partial = seen(100, problem=problem, message="no fresh samples of pod b")
    loop = Loop(policy(in_="10s"), replicas=3)
    decision = loop.run(partial, seconds=600)
    assert (decision.replicas, decision.reason) == (3, reason)
    assert decision.message == "100 requests/min over 3 replicas or more, no fresh samples of pod b: no scale-in from 3"
    assert loop.tick(seen(9000, problem=problem, message="no fresh samples of pod b")).replicas == 5


def test_decide_must_not_scale_in_on_partial_data_after_a_good_period() -> None:
    """The last reading must be good too, not only those before."""
    history = History(trusted_since=after(-400), trusted_until=after(-2))
    assert one(seen(0, problem=Problem.PARTIAL), replicas=3, history=history).replicas == 3
    assert one(seen(0), short=seen(0, problem=Problem.PARTIAL), replicas=3, history=history).replicas == 3
    assert one(seen(0, problem=Problem.FILLING), short=seen(0), replicas=3, history=history).replicas == 3
    assert one(0, replicas=3, history=history).replicas == 1


def test_decide_must_not_scale_in_after_a_restart_before_a_full_period() -> None:
    """A new operator knows only what it has seen itself, and says since when."""
    loop = Loop(replicas=4, history=History.resumed(last_scale_time=after(-3600)))
    decision = loop.run(0, seconds=300)
    assert (decision.replicas, decision.reason) == (4, ScalingReason.SCALE_IN_STABILIZING)
    assert "no scale-in before 12:05:02 UTC, metrics are complete only since 12:00:02" in decision.message
    assert loop.tick(0).replicas == 1


def test_history_must_keep_cooldowns_over_a_restart() -> None:
    """The last change is in status; with the decisions its direction is known as well."""
    assert (
        one(9000, scaling=policy(out="60s"), history=History.resumed(last_scale_time=after(-10))).reason
        == "ScaleOutCooldown"
    )
    entries = [
        ScalingDecision(time=after(-90), from_replicas=1, to_replicas=2, reason="AboveTarget"),
        ScalingDecision(time=after(-10), from_replicas=2, to_replicas=1, reason="BelowTarget"),
    ]
    history = History.resumed(last_scale_time=after(-10), decisions=entries)
    assert one(9000, scaling=policy(out="60s"), history=history).replicas == 5
    assert history.last_change == after(-10)


@pytest.mark.parametrize("reading", [seen(3000), unknown(Problem.NO_DATA, message="x").long])
def test_decide_must_bring_a_number_outside_the_bounds_back_at_once(reading: Reading) -> None:
    """Bounds are orders, whatever the data say."""
    decision = one(reading, replicas=9)
    assert (decision.replicas, decision.reason, decision.message) == (
        6,
        ScalingReason.AT_MAXIMUM,
        "9 replicas is above maxReplicas: scaling from 9 to 6",
    )
    decision = one(reading, replicas=0, scaling=policy(minimum=2))
    assert (decision.replicas, decision.reason) == (2, ScalingReason.AT_MINIMUM)


def test_decide_must_lift_to_the_minimum_and_on_to_the_load_in_one_step() -> None:
    """Being lifted to the minimum starts no cooldown that holds back what the load asks."""
    decision = one(9000, replicas=0, scaling=policy(out="60s"))
    assert (decision.replicas, decision.reason, decision.previous_replicas) == (5, ScalingReason.ABOVE_TARGET, 0)


def test_decide_must_not_go_below_the_bound_in_the_same_step() -> None:
    """A number cut to the maximum is a change: scaling in further waits its period."""
    history = History(trusted_since=after(-400), trusted_until=after(-2))
    assert one(0, replicas=9, history=history).replicas == 6


def test_decide_must_apply_a_new_target_to_the_past() -> None:
    """Requests are remembered, not replicas: a target halved a moment ago counts for the whole period."""
    loop = Loop(replicas=6)
    loop.run(2500, seconds=200)
    loop.run(100, seconds=98)
    loop.policy = policy(target=1000)
    assert loop.run(100, seconds=4).replicas == 3


def test_decide_must_not_trust_a_longer_period_than_it_remembers() -> None:
    """A cooldown that is raised has to be lived through: what was older is forgotten."""
    loop = Loop(policy(in_="1m"), replicas=2)
    loop.run(3900, seconds=280)
    loop.run(100, seconds=58)
    loop.run(seen(100, problem=Problem.PARTIAL), seconds=6)  # now the last 3900 are older than the minute kept
    loop.policy = policy(in_="5m")
    decision = loop.tick(100)
    assert (decision.replicas, decision.reason) == (2, ScalingReason.SCALE_IN_STABILIZING)


def test_decide_must_not_wait_for_a_clock_that_was_set_back() -> None:
    """A change in the future is one of just now: the wait is a period, not the clock's error."""
    history = History.resumed(last_scale_time=after(86_400))
    loop = Loop(policy(in_="10s"), replicas=3, history=history)
    assert loop.run(0, seconds=20).replicas == 1


def test_decide_must_wait_a_window_after_a_time_in_which_no_replica_served() -> None:
    """
    Requests that find no replica are counted nowhere, and the windows after such a time still hold it: with a scale-in
    period shorter than a window too, nothing is removed before one has passed. An operator that was started since knows it.
    """
    loop = Loop(policy(in_="2s"), replicas=3)
    loop.served_since = after(0)
    assert loop.run(900, seconds=58).reason is ScalingReason.METRICS_FILLING
    assert loop.last is not None
    assert "no replica was ready before 12:00:00 UTC" in loop.last.message
    assert loop.run(900, seconds=8).replicas == 1


def test_history_must_stay_small() -> None:
    """Only falling peaks of one period are kept, however long and noisy the load."""
    loop = Loop(replicas=6)
    for i in range(5000):
        loop.tick(float((i * 7919) % 1000))
    assert len(loop.history.peaks) < 60
    assert loop.history.peaks[0].time >= after(loop.time - 300)


def test_decide_must_report_the_newest_sample() -> None:
    """status.scaling.observedAt is the data's time, not the decision's."""
    assert one(seen(100, newest=after(-7))).observed_at == after(-7)
