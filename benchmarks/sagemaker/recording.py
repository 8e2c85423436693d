"""What is kept while it runs: the phases with what they cost, and the states that AWS' things have been in."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.sagemaker.figures import Change
from benchmarks.sagemaker.stage import Stage

LOOK_SECONDS = 15.0
"""Simulated. No endpoint of the simulator passes a state in less than 30, so that none is missed."""
_PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Phase:
    """A part of the run, in simulated time, with what operator, simulator and machine used in it."""

    name: str
    begin: float
    end: float
    wall_seconds: float
    operator_cpu_seconds: float
    simulator_cpu_seconds: float
    machine_busy_seconds: float
    operator_rss_mib: float
    passes: dict[str, float]
    """Reconciles by kind."""
    budget_wait_seconds: float

    @property
    def minutes(self) -> float:
        """Simulated minutes."""
        return (self.end - self.begin) / 60


@dataclass
class Recording:
    """Grows while the benchmark runs."""

    stage: Stage
    phases: dict[str, Phase] = field(default_factory=dict)
    endpoint_changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    """By name in AWS; creating and deleting, which are the operator's own doing, are not in it."""
    _began: float = field(default_factory=time.monotonic)
    _looked: float = 0.0
    _said: float = 0.0
    _name: str = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record this part of the run; one that fails is not recorded."""
        stage = self.stage
        self._name = name
        self.say(f"begins, at {stage.used()['operator'].rss_mib:.0f} MiB")
        used, busy, begin, wall = stage.used(), stage.machine_busy_seconds(), stage.simulated(), time.time()
        counted = self._counted()
        yield
        after, seconds = stage.used(), time.time() - wall
        end, counted_after = stage.simulated(), self._counted()
        self.phases[name] = Phase(
            name=name,
            begin=begin,
            end=end,
            wall_seconds=seconds,
            operator_cpu_seconds=after["operator"].cpu_seconds - used["operator"].cpu_seconds,
            simulator_cpu_seconds=after["simulator"].cpu_seconds - used["simulator"].cpu_seconds,
            machine_busy_seconds=stage.machine_busy_seconds() - busy,
            operator_rss_mib=after["operator"].rss_mib,
            passes={kind: counted_after[kind] - counted[kind] for kind in ("TrainingJob", "ModelEndpoint")},
            budget_wait_seconds=counted_after["waited"] - counted["waited"],
        )
        self.say(f"took {(end - begin) / 60:.1f} simulated minutes, {seconds:.0f} s")

    def _counted(self) -> dict[str, float]:
        metric = self.stage.operator.metric
        return {
            **{kind: metric("sagebrush_reconciles_total", kind=kind) for kind in ("TrainingJob", "ModelEndpoint")},
            "waited": metric("sagebrush_aws_budget_wait_seconds_total"),
        }

    def say(self, text: str) -> None:
        """A line of progress."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"[{minutes:2}:{seconds:02}] {self._name}: {text}", flush=True)

    def look(self) -> None:
        """To be called again and again: sees what has changed in AWS, and says how it goes."""
        if self.stage.operator.process.poll() is not None:
            raise RuntimeError(f"the operator has ended: {self.stage.operator.text()[-2000:]}")
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS / self.stage.options.speed:
            self._looked = now
            self.take_in(self.stage.control.state())
        if now - self._said >= _PROGRESS_SECONDS:
            self._said = now
            self._progress()

    def take_in(self, state: dict[str, Any]) -> None:
        """Note the endpoints whose state is another than before."""
        for region in state.values():
            for name, body in region["endpoints"].items():
                seen = Change(body["LastModifiedTime"], body["EndpointStatus"])
                known = self.endpoint_changes[name]
                if seen.state not in {"Creating", "Deleting"} and seen not in known:
                    known.append(seen)

    def _progress(self) -> None:
        watching = self.stage.watching
        phases = watching.phases()
        ended = watching.ended()
        used = self.stage.used()["operator"]
        self.say(
            f"{watching.serving()} endpoints serve, {sum(phases.values()) - ended} jobs run, {ended} have ended; "
            f"operator: {used.cpu_seconds:.0f} s of CPU, {used.rss_mib:.0f} MiB"
        )
