"""The system under a policy: a first-in-first-out queue in front of replicas that take time to start.

One step is a second, and within it everything is fluid. All replicas are one pool. A decision taken in a second holds
from that second on; a replica launched then serves *startup_seconds* later; removal is immediate and takes replicas
that are still starting first. Requests that would wait longer than the patience are lost, and with a bounded queue
those that would wait longer than the service allows. The same trace, system and policy give the same outcome.
"""

from dataclasses import dataclass
from time import process_time

import numpy as np

from sagebrush.replay.autoscaler import PODS, Autoscaler, Maker, Outage, Pipeline, Situation, View
from sagebrush.replay.queueing import Floats, Ints, Service, late_probability, replicas_needed
from sagebrush.replay.trace import Trace

PATIENCE_SECONDS = 5.0
"""A request that would wait longer is lost."""

_STEADY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Where the replicas run and how they are seen."""

    startup_seconds: int = 10
    serialised: bool = False
    """No change while a start is under way, as with SageMaker."""
    bounded_queue: bool = False
    """Refuse what would wait longer than the service allows."""
    pipeline: Pipeline = PODS
    outages: tuple[Outage, ...] = ()
    """In seconds of the trace, history included."""
    stated_capacity: float = 1.0
    """What the policy is told of a replica's capacity, by the truth."""
    tells_busy: bool = True
    """Whether replicas say what share of their time they compute, as our own server does and others may not."""
    minimum: int = 1
    maximum: int = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests, second by second of those that are judged."""

    arrivals: Floats
    late: Floats
    """Requests that waited too long or were lost."""
    lost: Floats
    """Requests refused or dropped; they are late as well."""
    queue: Floats
    """Requests that wait at the beginning of the second."""
    asked: Ints
    """Replicas paid for."""
    ready: Ints
    """Replicas that serve."""
    changes: int
    """How often the number asked for changed."""
    looks: int
    policy_seconds: float
    """CPU time of all looks together; the one figure that differs between runs."""

    @property
    def late_share(self) -> float:
        """Late requests by all requests."""
        total = float(self.arrivals.sum())
        return float(self.late.sum()) / total if total else 0.0

    @property
    def replica_seconds(self) -> float:
        """What is paid for, boots included."""
        return float(self.asked.sum())

    @property
    def changes_per_hour(self) -> float:
        """Changes of the number asked for, by hours judged."""
        return self.changes / (len(self.asked) / 3600)


def first_replicas(trace: Trace, *, minimum: int = 1) -> int:
    """The replicas that every policy starts with: enough for the mean of the first minute that is judged."""
    mean = np.asarray([float(trace.judged[:_STEADY_SECONDS].mean())])
    return max(minimum, int(replicas_needed(mean, trace.service)[0]))


def simulate(trace: Trace, make: Maker, system: System) -> Outcome:
    """The judged seconds of *trace* under the policy that *make* makes."""
    begin = trace.evaluated_from
    service = trace.service
    told = Service(
        capacity=service.capacity * system.stated_capacity, wait_seconds=service.wait_seconds, workers=service.workers
    )
    replicas = min(first_replicas(trace, minimum=system.minimum), system.maximum)
    situation = Situation(
        service=told,
        latency_seconds=service.wait_seconds + service.workers / service.capacity,
        startup_seconds=system.startup_seconds,
        serialised=system.serialised,
        bounded_queue=system.bounded_queue,
        tells_busy=system.tells_busy,
        minimum=system.minimum,
        maximum=system.maximum,
        replicas=replicas,
        first_second=begin,
        start_unix=trace.start_unix,
        pipeline=system.pipeline,
    )
    policy = make(situation, trace.arrivals[:begin])
    arrived = np.concatenate(([0.0], np.cumsum(trace.arrivals))).tolist()
    view = View(arrived, begin=begin, service=service, pipeline=system.pipeline, outages=system.outages)
    run = _Run(view, system=system, replicas=replicas)
    run.through(trace.judged.tolist(), policy=policy, capacity=service.capacity, wait=service.wait_seconds)
    return run.outcome(trace)


class _Run:
    """The state that the seconds hand on."""

    def __init__(self, view: View, *, system: System, replicas: int) -> None:
        self.view = view
        self.system = system
        self.asked: list[int] = []
        self.ready: list[int] = []
        self.replicas = replicas
        self.serving = replicas
        self.starts: list[tuple[int, int]] = []  # (second of being ready, replicas), oldest first
        self.changes = 0
        self.looks = 0
        self.policy_seconds = 0.0

    def through(self, arrivals: list[float], *, policy: Autoscaler, capacity: float, wait: float) -> None:
        """Second by second. Local names: this is the loop that fourteen days of seconds go through."""
        view, begin = self.view, self.view.now
        queues, completed, rejected = view._queue, view._completed, view._rejected  # noqa: SLF001 - the simulator owns it
        limit_seconds = wait if self.system.bounded_queue else PATIENCE_SECONDS
        add_asked, add_ready = self.asked.append, self.ready.append
        add_queue, add_completed, add_rejected = queues.append, completed.append, rejected.append
        add_able = view._able.append  # noqa: SLF001 - the simulator owns it
        queue = served_total = lost_total = able_total = 0.0
        next_look = begin
        for now, arriving in enumerate(arrivals, start=begin):
            if self.starts and self.starts[0][0] <= now:
                self.serving += self.starts.pop(0)[1]
            if now >= next_look:
                next_look = now + policy.interval_seconds
                self._look(policy, now=now)
            able = self.serving * capacity
            able_total += able
            backlog = queue + arriving - able
            if backlog <= 0.0:
                served_total += queue + arriving
                queue = 0.0
            else:
                served_total += able
                # Nobody who waits is sent away: only what arrives is refused.
                most = max(able * limit_seconds, queue - able)
                if backlog > most:
                    lost_total += backlog - most
                    backlog = most
                queue = backlog
            add_asked(self.replicas)
            add_ready(self.serving)
            add_queue(queue)
            add_completed(served_total)
            add_rejected(lost_total)
            add_able(able_total)

    def _look(self, policy: Autoscaler, *, now: int) -> None:
        view, system = self.view, self.system
        view.now = now
        view.replicas = self.replicas
        view.ready = self.serving
        view.starting = self.replicas - self.serving
        view.updating = system.serialised and bool(self.starts)
        self._show(view, now=now)
        before = process_time()
        wanted = policy.look(view)
        self.policy_seconds += process_time() - before
        self.looks += 1
        wanted = max(system.minimum, min(wanted, system.maximum))
        if wanted == self.replicas or view.updating:
            return
        self.changes += 1
        if wanted > self.replicas:
            self.starts.append((now + system.startup_seconds, wanted - self.replicas))
            if system.startup_seconds == 0:
                self.serving += self.starts.pop()[1]
        else:
            self._remove(self.replicas - wanted)
        self.replicas = wanted

    def _show(self, view: View, *, now: int) -> None:
        """What the metrics say at this moment."""
        pipeline = view.pipeline
        view.seen_until = max(0, (now - pipeline.lag) // pipeline.step * pipeline.step)
        view.blind = False
        for outage in self.system.outages:
            if not (outage.pods if pipeline.pods else outage.prometheus):
                continue
            if outage.begin <= now < outage.end:
                view.blind = True
            elif now >= outage.end:
                first = -(-outage.end // pipeline.step) * pipeline.step
                view._since = max(view._since, first)  # noqa: SLF001 - the simulator owns it
                view.blind = view.blind or view.seen_until < first

    def _remove(self, count: int) -> None:
        while count and self.starts:
            ready_at, starting = self.starts.pop()
            taken = min(count, starting)
            count -= taken
            if starting > taken:
                self.starts.append((ready_at, starting - taken))
        self.serving -= count

    def outcome(self, trace: Trace) -> Outcome:
        """Everything that needs no order of seconds, at once."""
        view, service = self.view, trace.service
        arrivals = trace.judged
        queue = np.asarray(view._queue[:-1])  # noqa: SLF001 - the simulator owns it
        lost = np.diff(np.asarray(view._rejected))  # noqa: SLF001 - the simulator owns it
        ready = np.asarray(self.ready, dtype=np.int64)
        late = np.maximum(lost, _waited_too_long(arrivals, queue, ready, service=service))
        calm = (queue <= 0) & (arrivals < ready * service.capacity)
        late = np.where(calm, arrivals * late_probability(arrivals, ready, service), late)
        return Outcome(
            arrivals=arrivals,
            late=late,
            lost=lost,
            queue=queue,
            asked=np.asarray(self.asked, dtype=np.int64),
            ready=ready,
            changes=self.changes,
            looks=self.looks,
            policy_seconds=self.policy_seconds,
        )


def _waited_too_long(arrivals: Floats, queue: Floats, ready: Ints, *, service: Service) -> Floats:
    """Requests of each second that find at least the allowed wait before them, arrivals being even within it.

    Where the queue is bounded by that wait, those are the requests that find it full: refused, or let in at its end.
    """
    able = ready * service.capacity
    allowed = able * service.wait_seconds
    slope = arrivals - able
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.clip((allowed - queue) / slope, 0.0, 1.0)
    share = np.where(slope > 0, 1.0 - crossing, np.where(slope < 0, crossing, (queue > allowed).astype(np.float64)))
    # A falling backlog that begins below the bound never crosses it.
    share = np.where((slope <= 0) & (queue <= allowed), 0.0, share)
    share = np.where((slope > 0) & (queue > allowed), 1.0, share)
    return np.asarray(arrivals * share)
