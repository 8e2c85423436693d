"""The anchors against what is published of them."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from sagebrush.replay.anchors import (
    HIGH_RESOLUTION,
    STANDARD,
    HorizontalPodAutoscaler,
    HpaConstants,
    Keda,
    KnativePodAutoscaler,
    KpaConstants,
    TargetTracking,
)
from sagebrush.replay.autoscaler import CLOUDWATCH, PROMETHEUS_15S, QUEUE_PROXIES, Maker, Outage
from sagebrush.replay.contenders import IN_CLUSTER, ON_SAGEMAKER, Contender, hpa, keda, kpa, target_tracking
from sagebrush.replay.queueing import Service
from sagebrush.replay.run import replay
from sagebrush.replay.shapes import article_spikes
from sagebrush.replay.system import Outcome, System, simulate
from sagebrush.replay.trace import Trace
from tests.unit.replay import builders

PATIENT = Service(capacity=10, wait_seconds=4)
"""One replica of it is enough for 7 requests/s: what the anchors want is then all that moves the number."""


def steady(*stretches: tuple[float, int]) -> Trace:
    return builders.steady(*stretches, service=PATIENT)


PODS = System(startup_seconds=10, pipeline=PROMETHEUS_15S)
KNATIVE = System(startup_seconds=0, pipeline=QUEUE_PROXIES)
SAGEMAKER = System(startup_seconds=360, serialised=True, pipeline=CLOUDWATCH)


def test_constants_must_be_the_published_ones() -> None:
    """The defaults of autoscaling/v2, of config-autoscaler, and of the alarms that AWS makes."""
    assert {
        "interval_seconds": 15,
        "tolerance": 0.1,
        "up_percent": 100.0,
        "up_pods": 4,
        "up_period_seconds": 15,
        "down_percent": 100.0,
        "down_period_seconds": 15,
        "down_stabilization_seconds": 300,
    } == asdict(HpaConstants())
    assert {
        "tick_seconds": 2,
        "stable_window_seconds": 60,
        "panic_window_percentage": 10.0,
        "panic_threshold_percentage": 200.0,
        "max_scale_up_rate": 1000.0,
        "max_scale_down_rate": 2.0,
        "target_utilisation": 0.7,
    } == asdict(KpaConstants())
    assert {
        "period_seconds": 60,
        "high_periods": 3,
        "low_periods": 15,
        "low_threshold": 0.9,
        "cooldown_out_seconds": 300,
        "cooldown_in_seconds": 300,
    } == asdict(STANDARD)
    assert (10, 3) == (HIGH_RESOLUTION.period_seconds, HIGH_RESOLUTION.high_periods)


def hpa_of(utilisation: float = 0.7) -> Maker:
    return lambda situation, _: HorizontalPodAutoscaler(situation, utilisation=utilisation)


def changes(outcome: Outcome) -> list[tuple[int, int]]:
    """(second, replicas) of the start and of every change."""
    asked = outcome.asked.tolist()
    return [(0, asked[0])] + [(at, asked[at]) for at in range(1, len(asked)) if asked[at] != asked[at - 1]]


def test_hpa_must_leave_what_is_within_its_tolerance() -> None:
    """Ratios of 0.9 to 1.1 change nothing: 7 requests/s are the target of one replica."""
    assert [(0, 1)] == changes(simulate(steady((7.6, 900)), hpa_of(), PODS))
    assert [(0, 1), (30, 2)] == changes(simulate(steady((7.8, 900)), hpa_of(), PODS))


def test_hpa_must_add_at_most_four_pods_or_as_many_again_in_fifteen_seconds() -> None:
    """From 2: 6 by four more, 12 by doubling, 24 by doubling."""
    found = changes(simulate(steady((13, 300), (300, 300)), hpa_of(), PODS))
    assert [6, 12, 24] == [replicas for at, replicas in found if at > 300][:3]
    times = [at for at, _ in found if at > 300][:3]
    assert [15, 15] == [later - sooner for sooner, later in pairwise(times)]


def test_hpa_must_scale_down_to_the_highest_wish_of_five_minutes() -> None:
    """After a fall the number stays for 300 s at least."""
    found = changes(simulate(steady((60, 600), (6, 900)), hpa_of(), PODS))
    down = [(at, replicas) for at, replicas in found if at > 600]
    assert 600 + 300 <= down[0][0] <= 600 + 300 + 90
    assert down[-1][1] == 1


def test_hpa_must_hold_without_metrics_and_keda_must_fall_to_the_minimum() -> None:
    """HPA: an error changes nothing. KEDA's ignoreNullValues: true reads an empty answer as zero."""
    trace = steady((60, 3600))
    system = replace(PODS, outages=(Outage(begin=1200, end=2400),))
    assert 9 == simulate(trace, hpa_of(), system).asked[2399]
    outcome = simulate(trace, lambda situation, _: Keda(situation, utilisation=0.7), system)
    assert (9, 1) == (outcome.asked[1199], outcome.asked[2399])
    # The stabilisation window delays it: the last wish for 9 is of 1185.
    assert 9 == outcome.asked[1185 + 299]


def test_keda_must_see_a_step_only_after_its_two_minutes() -> None:
    """Half of a step shows after half of the window: 120 s, where the usual HPA query has 60."""
    trace = steady((13, 600), (60, 600))

    def full(maker: Maker) -> int:
        return int((simulate(trace, maker, PODS).asked[600:] >= 9).argmax())

    assert 45 <= full(hpa_of()) <= 75
    assert 100 <= full(lambda situation, _: Keda(situation, utilisation=0.7)) <= 140


def knative(utilisation: float = 0.7) -> Maker:
    return lambda situation, _: KnativePodAutoscaler(situation, utilisation=utilisation)


def test_kpa_must_panic_at_twice_its_capacity_and_not_scale_in_for_a_minute() -> None:
    """A step to 4 times the target shows within the six seconds of the panic window; panic only adds."""
    outcome = simulate(steady((6, 300), (28, 20), (6, 300)), knative(), KNATIVE)
    assert 4 == outcome.asked[308]
    # Calm is counted from when the ready pods are enough, not from the end of the load.
    assert (outcome.asked[308 : 304 + 58] == 4).all()
    assert (outcome.asked[460:] == 1).all()


def test_kpa_must_not_panic_below_the_threshold() -> None:
    """From two pods to three is less than twice: it takes the stable window."""
    outcome = simulate(steady((13, 300), (19, 300)), knative(), KNATIVE)
    assert 2 == outcome.asked[308]
    assert 3 == outcome.asked[365]


def test_kpa_must_halve_at_most_and_begin_in_panic() -> None:
    """Scale-down rate 2; a restart with more than one pod removes none for a minute."""
    outcome = simulate(steady((60, 60), (1, 300)), knative(), KNATIVE)
    first = int(outcome.asked[0])
    assert (outcome.asked[:60] >= first).all()
    falls = [replicas for at, replicas in changes(outcome) if at > 60]
    for before, after in zip([max(outcome.asked), *falls], falls, strict=False):
        assert after >= before // 2


def tracking(utilisation: float = 0.7) -> Maker:
    return lambda situation, _: TargetTracking(situation, utilisation=utilisation)


def test_target_tracking_must_need_three_minutes_above_the_target_and_one_to_see_them() -> None:
    """A step at 30 min: three whole periods above, published a minute later; the instance then takes six minutes."""
    outcome = simulate(steady((6, 1800), (30, 3600)), tracking(), SAGEMAKER)
    first = changes(outcome)[1]
    assert (1800 + 3 * 60 + 60, 5) == first
    assert (first[0] + 360) == int((outcome.ready >= 5).argmax())


def test_target_tracking_must_ignore_two_minutes() -> None:
    """A spike of two minutes breaches two periods: no alarm, which is the article's finding."""
    assert [(0, 1)] == changes(simulate(steady((6, 1800), (60, 120), (6, 1800)), tracking(), SAGEMAKER))


def test_target_tracking_must_wait_for_three_minutes_of_data() -> None:
    """Too hot from the first second: the third minute is published at 240 s; before, there is not enough data."""
    assert (240, 2) == changes(simulate(steady((8, 600)), tracking(), SAGEMAKER))[1]


def test_target_tracking_must_scale_in_after_fifteen_minutes_below_nine_tenths() -> None:
    """6.4 of 7 is above 0.9 of the target and stays; 3 is below it and goes after 15 periods."""
    stays = simulate(steady((12.8, 7200)), tracking(), SAGEMAKER)
    assert [(0, 2)] == changes(stays)
    falls = changes(simulate(steady((14, 3600), (3, 3600)), tracking(), SAGEMAKER))
    assert [(0, 2), (3600 + 15 * 60 + 60, 1)] == falls


@pytest.mark.parametrize(
    ("contender", "system", "late", "cost"),
    [
        (hpa(0.7), PODS, 13.8, 2.07),
        (keda(0.7), PODS, 23.3, 2.06),
        (kpa(0.7), PODS, 3.69, 1.68),
        (hpa(0.7), replace(PODS, startup_seconds=3), 12.4, None),
        (kpa(0.7), replace(PODS, startup_seconds=3), 2.3, None),
        (hpa(0.7), replace(PODS, startup_seconds=3, bounded_queue=True), 8.7, None),
        (kpa(0.7), replace(PODS, startup_seconds=3, bounded_queue=True), 0.97, None),
        (hpa(0.7), replace(PODS, startup_seconds=60), 23.5, 1.76),
        (kpa(0.7), replace(PODS, startup_seconds=60), 13.5, 1.43),
        (target_tracking(0.7), SAGEMAKER, 36.6, None),
        (target_tracking(0.5), SAGEMAKER, 36.6, None),
    ],
)
def test_anchors_must_do_on_the_article_spikes_what_is_known_of_them(
    contender: Contender, system: System, late: float, cost: float | None
) -> None:
    """Late requests in percent, and cost by the minimum, of an independent simulation of the same spikes."""
    row, _ = replay(SPIKES, contender, system)
    assert 100 * row.late_share == pytest.approx(late, rel=0.05, abs=0.25)
    if cost is not None:
        assert row.cost_ratio == pytest.approx(cost, rel=0.07)


SPIKES: Trace = article_spikes()


def test_contenders_must_have_names_of_their_own() -> None:
    """A name is how a row is found again."""
    names = [contender.name for contender in (*IN_CLUSTER, *ON_SAGEMAKER)]
    assert len(names) == len(set(names))
