"""Virtual time, simulated load, and what Prometheus reads of it."""

import re
import time
import urllib.request

from tests.contract.aws import Aws, variant
from tests.sagemaker_simulator import ManualClock, ScaledClock, Simulator
from tests.sagemaker_simulator.clock import Agenda

NAMES = [{"Key": "sagebrush.dev/namespace", "Value": "team"}, {"Key": "sagebrush.dev/name", "Value": "scores"}]
SAMPLE = re.compile(r"sagebrush_invocations_total\{(.*)\} (\S+)")


def samples(simulator: Simulator) -> dict[str, float]:
    """Series of GET /metrics by their labels."""
    with urllib.request.urlopen(f"{simulator.url}/metrics") as reply:
        text = reply.read().decode()
    return {match[1]: float(match[2]) for match in SAMPLE.finditer(text)}


def test_manual_clock_must_stand_still() -> None:
    """Only `advance` moves it."""
    clock = ManualClock(1000.0)
    clock.advance(2.5)
    assert 1002.5 == clock.now() == clock.now()


def test_scaled_clock_must_run_at_its_speed() -> None:
    """Virtual seconds are wall seconds times the speed, and `advance` jumps."""
    before = time.monotonic()
    clock = ScaledClock(1000.0)
    began = clock.now()
    after = time.monotonic()
    while time.monotonic() - after < 0.02:
        pass
    passed = clock.now() - began
    assert 20 <= passed <= (time.monotonic() - before) * 1000
    clock.advance(1e6)
    assert clock.now() - began > 1e6


def test_agenda_must_run_events_in_order_at_their_times() -> None:
    """An event sees its own time as now, even when the clock jumped past it; events may lay new ones."""
    clock = ManualClock(0.0)
    agenda = Agenda(clock)
    seen: list[tuple[str, float]] = []
    agenda.after(5, lambda: seen.append(("late", agenda.now)))

    def lay() -> None:
        agenda.after(1, lambda: seen.append(("laid", agenda.now)))

    agenda.after(1, lay)
    agenda.after(3, lambda: seen.append(("never", agenda.now))).cancel()
    clock.advance(10)
    agenda.catch_up()
    assert [("laid", 2.0), ("late", 5.0)] == seen
    assert 10.0 == agenda.now


def test_long_jumps_must_date_everything_right(aws: Aws, simulator: Simulator) -> None:
    """After a jump of a day the job's times are those of its phases, not of the jump."""
    aws.train()
    simulator.advance(86400)
    job = aws.job()
    assert 275 == (job["TrainingEndTime"] - job["CreationTime"]).total_seconds()


def test_scaled_world_must_go_on_by_itself() -> None:
    """Without any call a job ends in its wall time, by the ticker."""
    with Simulator(clock=ScaledClock(2000.0)) as simulator:
        aws = Aws(simulator)
        aws.train()
        deadline = time.monotonic() + 60
        job = simulator.world.region().training_jobs["job"]
        while not job.terminal and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "Completed" == job.primary


def test_metrics_must_have_a_series_for_each_instance(aws: Aws, simulator: Simulator) -> None:
    """Requests are spread evenly over the instances of a variant, and by weight over variants."""
    aws.serve(variant("A", InitialInstanceCount=2, InitialVariantWeight=3), variant("B"))
    simulator.traffic.set("endpoint", 800)
    simulator.advance(60)
    found = samples(simulator)
    assert [200.0, 300.0, 300.0] == sorted(found.values())
    assert all(labels.startswith('namespace="",endpoint_name="endpoint",variant_name="') for labels in found)
    assert 3 == len({re.search(r'pod="(endpoint-[AB]-\d+)"', labels)[1] for labels in found})  # type: ignore[index]


def test_metrics_must_name_the_owner_by_its_tags(aws: Aws, simulator: Simulator) -> None:
    """Namespace and name are those of the endpoint's tags."""
    aws.model()
    aws.config()
    aws.create(Tags=NAMES)
    simulator.advance(240)
    assert [] != [labels for labels in samples(simulator) if 'namespace="team",endpoint_name="scores"' in labels]


def test_metrics_must_lose_instances_that_go(aws: Aws, simulator: Simulator) -> None:
    """A scaled-in instance has no series; a new one begins at zero under a new name."""
    aws.serve(variant(InitialInstanceCount=2))
    simulator.traffic.set("endpoint", 600)
    simulator.advance(60)
    before = samples(simulator)
    aws.resize(DesiredInstanceCount=1)
    simulator.advance(30)
    assert 1 == len(samples(simulator))
    aws.resize(DesiredInstanceCount=2)
    simulator.advance(180)
    fresh = samples(simulator).keys() - before.keys()
    assert [0.0] == [samples(simulator)[labels] for labels in fresh]


def test_metrics_must_be_absent_for_endpoints_that_do_not_serve(aws: Aws, simulator: Simulator) -> None:
    """An endpoint that is being created has no series, and its load is lost."""
    aws.bring_to("Creating")
    simulator.traffic.set("endpoint", 600)
    simulator.advance(239)
    assert {} == samples(simulator)
    simulator.advance(1)
    assert [0.0] == list(samples(simulator).values())


def test_traffic_must_follow_its_schedule(aws: Aws, simulator: Simulator) -> None:
    """Pairs of (virtual seconds from now, requests per minute) hold until the next one."""
    aws.serve()
    simulator.traffic.set("endpoint", [(0, 60), (60, 600), (120, 0)])
    simulator.advance(300)
    assert [660.0] == list(samples(simulator).values())


def test_traffic_set_anew_must_keep_what_was(aws: Aws, simulator: Simulator) -> None:
    """A new rate counts from now; the minutes before keep theirs."""
    aws.serve()
    simulator.traffic.set("endpoint", 60)
    simulator.advance(60)
    simulator.traffic.set("endpoint", 600)
    simulator.advance(60)
    assert [660.0] == list(samples(simulator).values())


def test_metrics_must_rise_on_the_wall_clock() -> None:
    """The counter is the virtual count over the speed: a rate per wall minute is the virtual one per minute."""
    clock = ManualClock()
    clock.speed = 60.0
    with Simulator(clock=clock) as simulator:
        aws = Aws(simulator)
        aws.serve()
        simulator.traffic.set("endpoint", 600)
        simulator.advance(60 * 60)
        assert [600.0] == list(samples(simulator).values())


def test_real_invocations_must_count_as_real_ones(aws: Aws, simulator: Simulator) -> None:
    """Each InvokeEndpoint adds one to the counter of the wall clock."""
    aws.serve()
    for _ in range(3):
        aws.runtime.invoke_endpoint(EndpointName="endpoint", Body=b"1")
    assert [3.0] == list(samples(simulator).values())
