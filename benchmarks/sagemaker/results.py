"""From what was recorded to the figures of the report."""

import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.sagemaker import figures, scenario, workload
from benchmarks.sagemaker.figures import ENDPOINT, JOB, Call, Change, Sighting
from benchmarks.sagemaker.recording import Phase
from benchmarks.sagemaker.scenario import Scenario
from benchmarks.sagemaker.watching import ENDPOINTS, JOBS, Shown

CALLS_GOAL, NOTICE_GOAL = 2.0, 15.0
_MAINTENANCE = "endpoints: maintenance begins"
_ENDED = frozenset({"Completed", "Failed", "Stopped"})
_LAST_WORD = 60.0
"""Simulated seconds before the end within which a change may be too young to be shown."""
JITTER_SECONDS = 0.5
"""Real: calls leave the bucket in order, and threads of a busy machine deliver them in bunches."""


@dataclass(frozen=True)
class Check:
    """Something that must be so, whatever the speed."""

    name: str
    passed: bool
    detail: str


class Results:
    """All figures of one run."""

    def __init__(self, run: Scenario, audit: dict[str, Any]) -> None:
        self.run, self.audit = run, audit
        self.stage, self.options = run.stage, run.stage.options
        self.phases = run.recording.phases
        self.calls = [
            Call(each["virtual_time"], each["operation"], each["resource"], each["code"]) for each in audit["calls"]
        ]
        self.job_changes = {
            name: [Change(each["StartTime"], each["Status"]) for each in body["SecondaryStatusTransitions"]]
            for region in run.final_state.values()
            for name, body in region["training_jobs"].items()  # type: ignore[attr-defined]
        }

    def document(self) -> dict[str, Any]:
        """What goes into the file."""
        return {
            "parameters": {**asdict(self.options), "out": str(self.options.out), "operator": self.stage.flags()},
            "machine": {"cores": os.cpu_count(), "load_average_15_minutes": round(os.getloadavg()[2], 2)},
            "steady": self.steady(),
            "notice_seconds": self.notice(),
            "asked_seconds": self.asked(),
            "calls": self.traffic(),
            "operator": self.operator(),
            "phases": {name: {**asdict(phase), "minutes": phase.minutes} for name, phase in self.phases.items()},
            "checks": [asdict(check) for check in self.checks()],
            "goals": self.goals(),
            "trouble": self.stage.watching.trouble,
        }

    def _in(self, name: str) -> list[Call]:
        return figures.between(self.calls, self.phases[name].begin, self.phases[name].end)

    def steady(self) -> dict[str, Any]:
        """Calls and writes in the steady state, for each object and simulated minute."""
        phase, calls = self.phases[scenario.STEADY], self._in(scenario.STEADY)
        seconds = phase.end - phase.begin
        running = figures.mean_present(self._job_spans().values(), phase.begin, phase.end)
        objects = {ENDPOINT: float(self.options.endpoints), JOB: running}
        each = {
            kind: {
                operation: round(figures.per_minute(count, objects=objects[kind], seconds=seconds), 3)
                for operation, count in counts.items()
            }
            for kind, counts in figures.by_subject(calls).items()
            if kind in objects
        }
        ends = {name: end for name, (_, end) in self._job_spans().items()}
        late = [call for call in calls if call.resource in ends and call.at > ends[call.resource] + _LAST_WORD]
        return {
            "minutes": round(phase.minutes, 2),
            "endpoints": self.options.endpoints,
            "jobs_running_mean": round(running, 1),
            "jobs_arrived": sum(call.operation == "CreateTrainingJob" for call in calls),
            "calls": len(calls),
            "calls_per_object_minute": round(
                figures.per_minute(len(calls), objects=sum(objects.values()), seconds=seconds), 3
            ),
            "calls_per_endpoint_minute": round(sum(each.get(ENDPOINT, {}).values()), 3),
            "calls_per_running_job_minute": round(sum(each.get(JOB, {}).values()), 3),
            "calls_for_ended_jobs": len(late),
            "by_operation": each,
            "others": {kind: n for kind, n in figures.by_subject(calls).items() if kind not in objects},
            "status_writes_per_minute": {
                kind: round(
                    sum(phase.begin <= self.stage.simulated(at) < phase.end for at in self.stage.watching.writes[kind])
                    / phase.minutes,
                    1,
                )
                for kind in (ENDPOINTS, JOBS)
            },
        }

    def _job_spans(self) -> dict[str, tuple[float, float]]:
        """From a job's creation to its end, by name in AWS."""
        open_end = self.phases[scenario.STORM].end
        return {
            name: (changes[0].at, changes[-1].at if changes[-1].state in _ENDED else open_end)
            for name, changes in self.job_changes.items()
        }

    def _sightings(self, plural: str, named: str) -> dict[str, tuple[str, list[Sighting]]]:
        """By name in AWS: name of the object, and what it showed in simulated time."""
        out = {}
        for name, shown in self.stage.watching.shown[plural].items():
            key = _aws_name(shown, named)
            out[key] = (name, [Sighting(self.stage.simulated(s.at), s.state, s.step) for s in shown.sightings])
        return out

    def notice(self) -> dict[str, Any]:
        """
        Seconds from a change in AWS until the object's status shows it, by kind of change and by the phase it fell into.

        `under_way` and `unprompted` are of the steady state and the changes after it: in ramp and storm hundreds of
        objects come at once, and the budget is the limit.
        """
        found = self._noticed()
        times: dict[tuple[str, str], list[float]] = {}
        for kind, phase, time in found:
            times.setdefault((kind, phase), []).extend([] if time is None else [time])
        calm = (scenario.STEADY, scenario.CHANGES)

        def told(phases: tuple[str, ...], *, maintenance: bool = False) -> dict[str, float]:
            return figures.spread(
                [
                    time
                    for (kind, phase), some in times.items()
                    if phase in phases and (kind == _MAINTENANCE) is maintenance
                    for time in some
                ]
            )

        return {
            "under_way": told(calm),
            "unprompted": told(calm, maintenance=True),
            "by_phase": {phase: told((phase,)) for phase in (scenario.RAMP, *calm, scenario.STORM)},
            "by_kind": {f"{phase}, {kind}": figures.spread(some) for (kind, phase), some in sorted(times.items())},
            "never": dict(Counter(kind for kind, _, time in found if time is None)),
        }

    def _noticed(self) -> list[tuple[str, str, float | None]]:
        """Kind of change, phase, and seconds; None where it was never shown."""
        found: list[tuple[str, str, float | None]] = []
        jobs, endpoints = self._sightings(JOBS, "jobName"), self._sightings(ENDPOINTS, "endpointName")
        for name, changes in self.job_changes.items():
            times = figures.noticed_steps(changes, jobs[name][1] if name in jobs else [])
            for change, time in list(zip(changes, times, strict=True))[1:]:  # the first is our own call's
                kind = "jobs: ended" if change.state in _ENDED else "jobs: next phase"
                found += [(kind, phase, time) for phase in self._phase(change)]
        for name, changes in self.run.recording.endpoint_changes.items():
            times = figures.noticed_states(changes, endpoints[name][1])
            before = "Creating"
            for change, time in zip(changes, times, strict=True):
                happened = _kind(before, change.state)
                if happened:
                    found += [(happened, phase, time) for phase in self._phase(change)]
                before = change.state
        return found

    def _phase(self, change: Change) -> list[str]:
        """The phase that the change fell into; none where it was too late to be shown."""
        if change.at >= self.phases[scenario.STORM].end - _LAST_WORD:
            return []
        return [name for name, phase in self.phases.items() if phase.begin <= change.at < phase.end][:1]

    def asked(self) -> dict[str, Any]:
        """Seconds from the object's arrival to the call that creates its thing in AWS."""
        first = {
            (call.operation, call.resource): call.at
            for call in reversed(self.calls)
            if call.operation in {"CreateTrainingJob", "CreateEndpoint"}
        }
        found: list[tuple[str, float | None]] = []
        for plural, named, operation in (
            (JOBS, "jobName", "CreateTrainingJob"),
            (ENDPOINTS, "endpointName", "CreateEndpoint"),
        ):
            for key, (name, sightings) in self._sightings(plural, named).items():
                storm = plural == JOBS and workload.sort_of(name) is workload.STORM
                asked = first.get((operation, key))
                kind = "jobs of the storm" if storm else plural
                found.append((kind, None if asked is None else max(0.0, asked - sightings[0].at)))
        return {kind: figures.spread(times) for kind, times in figures.grouped(found).items()}

    def traffic(self) -> dict[str, Any]:
        """All calls: how many for what, and how they kept to the budget."""
        rate, ours = self.options.calls_per_second, [call.at for call in self.calls]
        spans = self.phases
        return {
            "total": len(self.calls),
            "codes": dict(Counter(call.code for call in self.calls)),
            "by_operation": figures.by_operation(self.calls),
            "by_phase": {
                name: {
                    "calls": len(part := self._in(name)),
                    "mean_per_second": round(len(part) / max(1e-9, 60 * phase.minutes), 2),
                    "peak_in_a_second": figures.peak((call.at for call in part), window=1.0),
                    "peak_in_ten_seconds": figures.peak((call.at for call in part), window=10.0),
                    "budget_wait_seconds": round(phase.budget_wait_seconds, 1),
                }
                for name, phase in spans.items()
            },
            "bucket": {"rate": rate, "burst": self.options.burst},
            "burst_needed": round(figures.burst_needed(ours, rate=rate), 1),
        }

    def operator(self) -> dict[str, Any]:
        """CPU and memory. CPU per simulated minute is what the operator takes at real speed."""
        return {
            "idle_cpu_seconds_per_real_minute": round(
                60 * self.phases[scenario.IDLE].operator_cpu_seconds / self.phases[scenario.IDLE].wall_seconds, 3
            ),
            "rss_mib": {name: phase.operator_rss_mib for name, phase in self.phases.items()},
            "peak_rss_mib": self.stage.used()["operator"].peak_rss_mib,
            "by_phase": {name: self._cpu(name, phase) for name, phase in self.phases.items() if name != scenario.IDLE},
        }

    def _cpu(self, name: str, phase: Phase) -> dict[str, float]:
        calls, passes = len(self._in(name)), sum(phase.passes.values())
        return {
            "cpu_seconds_per_simulated_minute": round(phase.operator_cpu_seconds / phase.minutes, 3),
            "share_of_a_core_while_measuring": round(phase.operator_cpu_seconds / phase.wall_seconds, 3),
            "share_of_a_core_at_real_speed": round(phase.operator_cpu_seconds / phase.minutes / 60, 4),
            "milliseconds_per_call": round(1000 * phase.operator_cpu_seconds / max(1, calls), 2),
            "passes_per_simulated_minute": round(passes / phase.minutes, 1),
            "simulator_share_of_a_core": round(phase.simulator_cpu_seconds / phase.wall_seconds, 3),
            "machine_busy_cores": round(phase.machine_busy_seconds / phase.wall_seconds, 2),
        }

    def goals(self) -> dict[str, dict[str, Any]]:
        """What the issue asks for, and what was measured."""
        calls, notice = self.steady()["calls_per_object_minute"], self.notice()["under_way"]["p95"]
        return {
            "calls_per_object_minute": {"goal": CALLS_GOAL, "measured": calls, "met": calls <= CALLS_GOAL},
            "notice_p95_seconds": {"goal": NOTICE_GOAL, "measured": notice, "met": notice <= NOTICE_GOAL},
        }

    def checks(self) -> list[Check]:
        """Whether everything was right."""
        wrong = {}
        running = 0
        for name, (phase, _) in self.run.final_jobs.items():
            if phase == workload.sort_of(name).ends:
                continue
            if phase in _ENDED or workload.sort_of(name) is workload.STORM:
                wrong[name] = phase
            running += 1
        twice = {
            **figures.duplicates(self.calls, "CreateTrainingJob"),
            **figures.duplicates(self.calls, "CreateEndpoint"),
        }
        refused = Counter(
            f"{call.operation} {call.code}"
            for call in self.calls
            if call.code != "OK" and not call.operation.startswith("Describe")
        )
        rate, burst = self.options.calls_per_second, self.options.burst
        needed = figures.burst_needed((call.at for call in self.calls), rate=rate)
        allowed = burst + rate * self.options.speed * JITTER_SECONDS
        never = self.notice()["never"]
        made, submitted = len(self.job_changes), len(self.run.submitted)
        return [
            Check("every job has ended as it should", not wrong, f"{wrong or 'yes'}; {running} still ran"),
            Check("all jobs were made", made == submitted, f"{made} of {submitted}"),
            Check("nothing was made twice", not twice, f"{twice or 'nothing'}"),
            Check("no change was refused", not refused, f"{dict(refused) or 'none'}"),
            Check("no misconduct", not self.audit["violations"], f"{self.audit['violations'][:3] or 'none'}"),
            Check("every change was shown", not never, f"{never or 'yes'}"),
            Check(
                "calls kept to the bucket", needed <= allowed, f"burst of {needed:.0f} needed, {allowed:.0f} allowed"
            ),
            Check("nothing is left in AWS", not self.run.orphans, f"{self.run.orphans[:3] or 'nothing'}"),
        ]


def _aws_name(shown: Shown, named: str) -> str:
    status = shown.body.get("status") or {}
    return str(status.get(named) or (status.get("sageMaker") or {}).get(named) or "")


def _kind(before: str, state: str) -> str | None:
    if state == "Updating":
        return None  # our own call's
    if state == "SystemUpdating":
        return _MAINTENANCE
    if before == "Creating":
        return "endpoints: created"
    return f"endpoints: {before} to {state}"
