"""target.latency: as few replicas as keep the bound; with bursts, blindness and a capacity that is measured."""

from dataclasses import replace

import numpy as np
import pytest

from sagebrush.core.scaling.calibration import Calibration
from sagebrush.core.scaling.decision import Decision, ScalingReason
from sagebrush.core.scaling.facts import Capacity, Knowledge
from tests.unit.scaling.builders import LATENCY, NOON, QUICK, SLOW, Loop, learned, scaling


def test_latency_must_ask_for_as_many_as_carry_the_rate() -> None:
    """100 requests/s a replica: 300/s need four, with the headroom that a start of 3 s asks for."""
    loop = Loop()
    decision = loop.run(18_000, seconds=4)
    assert (decision.replicas, loop.decisions[0].reason) == (4, ScalingReason.ABOVE_TARGET)
    assert loop.decisions[0].message == (
        "18000 requests/min over 1 replica needs more for 500 ms for all but 0.1 % of requests "
        "(6000 per minute and replica at most): scaling out from 1 to 4 (maximum 100)"
    )


def test_latency_must_leave_more_headroom_where_starts_are_slow() -> None:
    """What can be added in 12 minutes only has to be there before."""
    quick, slow = Loop(knowledge=QUICK), Loop(knowledge=SLOW)
    assert quick.run(60_000, seconds=4).replicas < slow.run(60_000, seconds=4).replicas


def test_latency_must_not_flap_under_a_steady_load() -> None:
    """Half an hour of Poisson arrivals, whatever the rate: one or two changes at its begin, and then hardly any."""
    generator = np.random.default_rng(7)
    for rate in (3, 40, 333, 2500):
        loop = Loop()
        counts = generator.poisson(rate * 2, size=900)
        for index in range(30, 900):
            long, short = counts[index - 30 : index].mean() * 30, counts[index - 3 : index].mean() * 30
            loop.tick(float(long), short=float(short))
        late = loop.decisions[200:]
        assert sum(decision.changed for decision in late) <= 2
        assert {decision.replicas for decision in late} <= {loop.replicas, loop.replicas + 1, loop.replicas - 1}


def test_latency_must_scale_in_after_its_hold() -> None:
    """A minute without need, not five: replicas that are back in 3 s are not worth keeping."""
    loop = Loop()
    loop.run(60_000, seconds=120)
    high = loop.replicas
    loop.run(6_000, seconds=56)
    assert loop.replicas == high
    assert loop.run(6_000, seconds=10).replicas == 2


def test_burst_must_see_a_jump_in_the_newest_two_seconds() -> None:
    """A window of six seconds shows a third of a step: what came since the last look tells how far it goes."""
    loop = Loop(replicas=3)
    loop.run(12_000, seconds=60)
    decision = loop.tick(12_000 + 48_000 * 2 / 60, short=12_000 + 16_000)
    assert decision.reason is ScalingReason.BURST
    assert 10 <= decision.replicas <= 18


def test_burst_must_not_multiply_while_replicas_start() -> None:
    """The number follows from the requests: as long as they stay the same, so does it, however few are Ready."""
    loop = Loop(replicas=2, starts=False)
    loop.run(6_000, seconds=10)
    asked = [loop.tick(60_000, waiting=50.0).replicas for _ in range(60)]
    assert max(asked) <= asked[5] <= 20


def test_burst_must_be_bounded_by_max_percent() -> None:
    """Ten times the load wants ten times the replicas; maxPercent: 100 allows twice those that serve."""
    loop = Loop(
        scaling(target={"latency": "500ms"}, capacity={"requestsPerSecond": 100}, burst={"maxPercent": 100}), replicas=4
    )
    decision = loop.tick(1_000, short=60_000)
    assert "Burst" in {each.by for each in decision.proposals}
    assert next(each.replicas for each in decision.proposals if each.by == "Burst") == 8


def test_burst_must_hold_replicas_while_it_lasts() -> None:
    """Requests that wait are a load, whatever the counters say."""
    loop = Loop(replicas=8)
    loop.run(6_000, seconds=300, waiting=100.0)
    assert loop.replicas >= 8
    assert loop.tick(6_000).reason is ScalingReason.BURST_LASTS
    assert loop.run(6_000, seconds=70).replicas < 4


def test_refused_requests_must_count_as_demand() -> None:
    """A replica that refuses has nothing waiting and looks quiet: it is not."""
    loop = Loop(replicas=2)
    loop.run(11_000, seconds=30)
    decision = loop.tick(11_000, refused_per_minute=6_000.0)
    assert "Burst" in {each.by for each in decision.proposals}
    assert loop.history.burst_at is not None


def test_blindness_must_add_a_fifth_once_after_half_a_minute() -> None:
    """40 minutes without data: 10 replicas become 12, and stay."""
    loop = Loop(replicas=10)
    loop.run(50_000, seconds=30)
    replicas = loop.replicas
    loop.run(None, seconds=28)
    assert loop.replicas == replicas
    assert loop.run(None, seconds=6).replicas == -(-replicas * 12 // 10)
    raised = [each for each in loop.decisions if each.reason is ScalingReason.METRICS_BLIND]
    assert len(raised) == 1
    assert "once, to be on the safe side" in raised[0].message
    assert loop.run(None, seconds=2400).replicas == -(-replicas * 12 // 10)


def test_blindness_must_be_over_for_a_whole_hold_before_anything_is_removed() -> None:
    """After the outage, as after a restart, it is not known how much there was."""
    loop = Loop(replicas=10)
    loop.run(6_000, seconds=10)
    loop.run(None, seconds=100)
    replicas = loop.replicas
    assert loop.run(6_000, seconds=56).replicas == replicas
    assert loop.run(6_000, seconds=10).replicas == 2


def test_capacity_must_be_learned_while_requests_wait() -> None:
    """Stated as 130, in truth 100: a minute of a queue that grows tells."""
    loop = Loop(
        scaling(maximum=3, target={"latency": "500ms"}, capacity={"requestsPerSecond": 130, "concurrency": 8}),
        replicas=3,
    )
    for index in range(30):
        loop.tick(21_000, waiting=50.0 * index)  # 350/s arrive, 25/s more wait each second: 325 are answered
    assert loop.last.capacity is not None
    assert loop.last.capacity.source == "Learned"
    assert loop.last.capacity.requests_per_second == pytest.approx(325 / 3, rel=0.02)


def test_capacity_must_not_be_learned_below_half_of_what_is_stated() -> None:
    """Whatever is measured by accident stays near what the owner says."""
    loop = Loop(replicas=3)
    for index in range(30):
        loop.tick(600, waiting=50.0 + index)
    assert loop.last.capacity == Capacity(
        50, 8, "Learned", loop.last.capacity.measured_at if loop.last.capacity else None
    )


def test_capacity_must_be_learned_from_busy_replicas() -> None:
    """Nothing is stated: 80 requests/s keep two replicas 80 % busy, so one does 50."""
    loop = Loop(scaling(target={"latency": "500ms"}), replicas=2)
    assert loop.tick(4_800, busy=0.8).reason is ScalingReason.CAPACITY_UNKNOWN
    decision = loop.run(4_800, seconds=20, busy=0.8)
    assert decision.capacity is not None
    assert decision.capacity.requests_per_second == pytest.approx(50)
    assert decision.reason is not ScalingReason.CAPACITY_UNKNOWN


def test_capacity_must_not_be_learned_from_idle_replicas() -> None:
    """Little load says nothing of how much more there could be."""
    loop = Loop(scaling(target={"latency": "500ms"}), replicas=2)
    assert loop.run(600, seconds=60, busy=0.1).capacity is None
    assert loop.replicas == 2


def test_capacity_must_be_forgotten_with_its_revision() -> None:
    """Another model may be faster or slower."""
    old = Knowledge(capacity=replace(learned(60), revision="a"), revision="b")
    loop = Loop(knowledge=old)
    decision = loop.tick(600)
    assert decision.capacity is not None
    assert decision.capacity.requests_per_second == 100


def test_burst_must_not_take_requests_that_came_together_for_a_queue() -> None:
    """Five replicas that do 50 a second each: six requests that wait are gone in 24 ms, thirty are a queue."""
    small = scaling(target={"requestsPerMinute": 2_700}, capacity={"requestsPerSecond": 50, "concurrency": 2})
    for waiting, burst in ((6.0, False), (24.0, False), (30.0, True)):
        loop = Loop(small, replicas=5)
        loop.run(12_000, seconds=60)
        decision = loop.tick(12_000, waiting=waiting)
        assert ("Burst" in {each.by for each in decision.proposals}) is burst
        assert decision.replicas == 5


def test_burst_must_wait_for_a_queue_to_stand_where_nobody_knows_the_capacity() -> None:
    """Once seen may be a passing one; what is still there after three seconds is not."""
    loop = Loop(scaling(target={"requestsPerMinute": 2_700}), replicas=5)
    loop.run(12_000, seconds=60)
    assert loop.tick(12_000, waiting=9.0).replicas == 5
    loop.run(12_000, seconds=10)
    assert [loop.tick(12_000, waiting=9.0).replicas for _ in range(4)][-1] > 5


def test_serialised_growth_must_be_a_half_at_least() -> None:
    """Where a start blocks all other changes for six minutes, a rise that has begun is not answered by one replica."""
    loop = Loop(knowledge=SLOW, replicas=10, starts=False)
    loop.run(45_000, seconds=600, step=10)
    before = loop.replicas
    loop.ready = before
    decision = next(
        found for rate in range(45_000, 90_000, 100) if (found := loop.tick(rate, seconds=10)).replicas > before
    )
    assert decision.replicas >= 1.5 * before
    assert "by a half at once" in decision.message


def steep(*, dispersion: float = 1.0, season: tuple[float, ...] = ()) -> Decision:
    """The first change by a rise of 60,000 requests/min in each minute, from 300,000, where replicas take six minutes."""
    calibration = Calibration("", NOON, headroom=1.3, dispersion=dispersion, season=season, usual=season)
    loop = Loop(scaling(maximum=500, **LATENCY), replicas=70, knowledge=replace(SLOW, calibration=calibration))
    loop.run(300_000, seconds=600, step=10)
    loop.starts, before = False, loop.replicas
    rates = range(300_000, 900_000, 10_000)
    return next(found for rate in rates if (found := loop.tick(rate, seconds=10)).replicas > before)


def test_steep_rise_must_be_provided_for_to_its_end() -> None:
    """In the twelve minutes until a second start is over it adds more than as much again."""
    decision = steep()
    assert "it rises steeply" in decision.message
    rate = decision.requests_per_minute or 0.0
    assert 2 * rate < decision.replicas * 6_000 < 3.1 * rate


def test_rise_within_chance_must_not_be_steep() -> None:
    """Requests that come in large bunches rise and fall as much by themselves."""
    assert "it rises steeply" not in steep(dispersion=400.0).message


def test_rise_of_every_day_must_not_be_steep() -> None:
    """The season rises as steeply at this hour: it knows to where."""
    noon = NOON.hour * 12
    season = [5_000.0] * 288
    for later in range(12):
        season[noon + later] += 5_000.0 * later  # 60,000 requests/min in each minute
    assert "it rises steeply" not in steep(season=tuple(season)).message


def test_serialised_growth_must_leave_to_the_season_what_it_foretells() -> None:
    """A season that knows the rise knows its end, and nothing is asked for beyond it."""
    found = []
    for most in (200.0, 1_300.0):
        calibration = Calibration("", NOON, headroom=1.3, season=(most,) * 288, usual=(most,) * 288)
        loop = Loop(replicas=16, knowledge=Knowledge(startup=SLOW.startup, serialised=True, calibration=calibration))
        loop.history = replace(loop.history, level=most * 60, usual_level=most * 60)
        found.append(loop.tick(78_000, seconds=10))
    assert [each.replicas for each in found] == [24, 18]
    assert ["by a half at once" in each.message for each in found] == [True, False]


def test_unknown_capacity_must_still_answer_a_queue() -> None:
    """A half more, once what was added is Ready; nothing is removed."""
    loop = Loop(scaling(target={"latency": "500ms"}), replicas=4, starts=False)
    assert loop.run(600, seconds=6, waiting=30.0).replicas == 6
    assert loop.run(600, seconds=4, waiting=30.0).replicas == 6
    loop.ready = 6
    assert loop.run(600, seconds=6, waiting=30.0).replicas == 9
    assert loop.run(60, seconds=900).replicas == 9


def test_recommend_must_change_nothing() -> None:
    """It says what it would do, and its history has no change that nobody made."""
    loop = Loop(scaling(target={"latency": "500ms"}, capacity={"requestsPerSecond": 100}, mode="Recommend"))
    decision = loop.run(30_000, seconds=60)
    assert (decision.replicas, decision.changed, loop.history.last_scale_out) == (1, False, None)
    assert decision.recommended is not None
    assert decision.recommended >= 6
    assert decision.message.endswith("mode is Recommend: nothing is changed")


def test_off_must_look_at_nothing() -> None:
    """Not even at the bounds."""
    loop = Loop(scaling(maximum=3, target={"latency": "500ms"}, mode="Off"), replicas=7)
    decision = loop.tick(30_000)
    assert (decision.replicas, decision.reason) == (7, ScalingReason.OFF)


def test_capacity_must_not_be_learned_while_the_number_of_replicas_changes() -> None:
    """What ten replicas have done in the last seconds says nothing of twenty, and an old sample nothing new."""
    loop = Loop(
        scaling(target={"latency": "500ms"}, capacity={"requestsPerSecond": 100, "concurrency": 8}), replicas=10
    )
    for ready in (10, 10, 10, 20, 20, 20) * 8:
        loop.replicas = loop.ready = ready
        loop.tick(54_000, busy=0.9)
    assert loop.last.capacity == Capacity(100, 8)
