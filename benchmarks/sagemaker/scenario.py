"""The run: objects come, are left alone, change, come all at once, and go."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.sagemaker import manifests, workload
from benchmarks.sagemaker.recording import Recording
from benchmarks.sagemaker.stage import Stage
from benchmarks.sagemaker.watching import ENDPOINTS, FINAL, JOBS, SERVING
from tests.integration.sagemaker.aws import IMAGE

IDLE_SECONDS = 8.0
"""Real: what the operator does without objects follows the wall's clock."""
FILLED_AFTER = 360.0
"""Simulated seconds over which the first jobs arrive."""
SETTLED_AFTER = 480.0
MAINTENANCE_SPREAD = 450.0
LONGEST_MINUTES = 60.0
"""Simulated: for each phase that waits for something."""
_TICK_SECONDS = 0.1
IDLE, RAMP, STEADY, CHANGES, STORM, DELETION = "idle", "ramp", "steady", "changes", "storm", "deletion"


class TooSlowError(RuntimeError):
    """What a phase waits for did not happen within its bound."""


@dataclass
class Scenario:
    """Drives the stage through the phases and keeps what the report needs."""

    stage: Stage
    recording: Recording
    submitted: list[str] = field(default_factory=list)
    """Jobs so far."""
    maintained: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)
    final_state: dict[str, dict[str, object]] = field(default_factory=dict)
    """The account before the deletion."""
    final_jobs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Phase and reason of each TrainingJob before the deletion."""
    orphans: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = self.stage.options
        self._coming = workload.job_names(options.before_storm, running=options.running)
        self._endpoints = workload.endpoint_names(options.endpoints)
        self._begin = 0.0

    def run(self) -> None:
        """All phases. Raises TooSlowError where one does not come to its end."""
        record = self.recording.phase
        with record(IDLE):
            time.sleep(IDLE_SECONDS)
        with record(RAMP):
            self._ramp()
        with record(STEADY):
            end = self.stage.simulated() + 60 * self.stage.options.minutes
            self._until(lambda: self.stage.simulated() >= end, "the end", minutes=2 * self.stage.options.minutes + 1)
        with record(CHANGES):
            self._change()
        with record(STORM):
            self._storm()
        self._keep()
        with record(DELETION):
            self._delete()

    def _until(
        self, done: Callable[[], bool], what: str, *, minutes: float = LONGEST_MINUTES, feed: bool = True
    ) -> None:
        end = self.stage.simulated() + 60 * minutes
        while not done():
            if self.stage.simulated() > end:
                raise TooSlowError(f"{what}: not within {minutes:g} simulated minutes")
            if feed:
                self._feed()
            self.recording.look()
            time.sleep(_TICK_SECONDS)

    def _feed(self) -> None:
        """Submit jobs, so that as many run as are to run at once."""
        running = self.stage.options.running
        share = (self.stage.simulated() - self._begin) / FILLED_AFTER
        room = int(min(1.0, share) * running) - (len(self.submitted) - self.stage.watching.ended())
        if room > 0 and self._coming:
            now, self._coming = self._coming[:room], self._coming[room:]
            self.stage.submit([manifests.job(name) for name in now])
            self.submitted += now

    def _ramp(self) -> None:
        self._begin = self.stage.simulated()
        self.stage.submit([manifests.endpoint(name) for name in self._endpoints])
        self._until(lambda: self.stage.watching.serving() == len(self._endpoints), "all endpoints serve")
        self._until(lambda: self.stage.simulated() > self._begin + SETTLED_AFTER, "the first jobs run")

    def _change(self) -> None:
        """Maintenance that nobody asked for, and updates: some succeed, some are rolled back without a word, some scale."""
        size = self.stage.options.changed_endpoints()
        names = self._endpoints[::2] + self._endpoints[1::2]
        self.updated, self.rolled_back, self.scaled = (names[part * size : (part + 1) * size] for part in range(3))
        self.maintained = names[3 * size : 3 * size + self.stage.options.maintained_endpoints()]
        for number, name in enumerate(self.maintained):
            after = MAINTENANCE_SPREAD * number / len(self.maintained)
            self.stage.control.fault("system_update", resource=self._in_aws(name), after=after)
        for name in self.rolled_back:
            self.stage.control.fault("silent_rollback", resource=self._in_aws(name), times=1)
        other = {"model": {"container": {"image": IMAGE.replace(":1", ":2")}}}
        for name in (*self.updated, *self.rolled_back):
            self.stage.patch_endpoint(name, other)
        for name in self.scaled:
            self.stage.patch_endpoint(name, {"replicas": 2})
        self._until(
            lambda: all(self._reason(name) == "UpdateRolledBack" for name in self.rolled_back), "rollbacks are told"
        )
        for name in self.rolled_back:
            self.stage.patch_endpoint(name, {"model": {"container": {"image": IMAGE}}})
        begin = self.recording.phases[STEADY].end
        maintenance = MAINTENANCE_SPREAD + 300
        self._until(lambda: self.stage.simulated() > begin + maintenance + 30, "the end of maintenance")
        self._until(lambda: self.stage.watching.serving() == len(self._endpoints), "all endpoints serve again")

    def _storm(self) -> None:
        self._coming = []
        names = workload.storm_names(self.stage.options.storm)
        self.stage.submit([manifests.job(name) for name in names])
        self.submitted += names
        shown = self.stage.watching.shown[JOBS]
        self._until(
            lambda: all(name in shown and shown[name].phase in FINAL for name in names), "the jobs of the storm end"
        )

    def _keep(self) -> None:
        # A status is written a moment after the answer that it tells.
        pause = self.stage.simulated() + 30
        self._until(lambda: self.stage.simulated() > pause, "the last words")
        self.final_state = self.stage.control.state()
        self.recording.take_in(self.final_state)
        self.final_jobs = {name: (shown.phase, shown.reason) for name, shown in self.stage.watching.shown[JOBS].items()}

    def _delete(self) -> None:
        self.stage.delete_all()
        self._until(lambda: self.stage.watching.left() == 0, "all objects go", feed=False)
        end = self.stage.simulated() + 120
        while (left := self.stage.control.orphans([])) and self.stage.simulated() < end:
            time.sleep(_TICK_SECONDS)
        self.orphans = left

    def _reason(self, name: str) -> str:
        shown = self.stage.watching.get(ENDPOINTS, name)
        return shown.reason if shown else ""

    def _in_aws(self, name: str) -> str:
        shown = self.stage.watching.get(ENDPOINTS, name)
        if shown is None or shown.reason != SERVING:
            raise TooSlowError(f"endpoint {name} does not serve when it is to be changed")
        return str(shown.body["status"]["sageMaker"]["endpointName"])
