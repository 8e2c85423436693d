"""The figures as a table for people."""

from typing import Any

_WIDTH = 54


def table(document: dict[str, Any]) -> str:
    """All that matters of a result, in lines."""
    steady, notice, calls = document["steady"], document["notice_seconds"], document["calls"]
    operator, phases = document["operator"], document["phases"]
    given = document["parameters"]
    lines = [
        "",
        f"{given['endpoints']} endpoints and {given['jobs']} jobs; time ran {given['speed']:g} times as fast as it is. All times are simulated.",
        f"operator: {' '.join(given['operator'])} (in simulated time but for the last)",
        "",
        (
            f"steady state, {steady['minutes']:g} minutes: {steady['endpoints']} endpoints in service, {steady['jobs_running_mean']:g} jobs running, "
            f"{steady['jobs_arrived']} new ones"
        ),
        _row("  calls per object and minute", steady["calls_per_object_minute"]),
        _row("  calls per endpoint and minute", steady["calls_per_endpoint_minute"]),
        _row("  calls per running job and minute, its creation too", steady["calls_per_running_job_minute"]),
        _row("  calls for jobs that had ended", steady["calls_for_ended_jobs"]),
    ]
    for kind, operations in steady["by_operation"].items():
        told = ", ".join(f"{operation} {rate:g}" for operation, rate in operations.items())
        lines.append(f"    {kind}, per minute: {told}")
    writes = steady["status_writes_per_minute"]
    lines.append(_row("  writes to Kubernetes per minute, endpoints, jobs", *writes.values()))
    lines += ["", _row("seconds until a change is shown", "p50", "p95", "max", "of")]
    lines.append(_spread("  what is under way, in steady state and changes", notice["under_way"]))
    lines.append(_spread("  unprompted, of endpoints in service", notice["unprompted"]))
    lines += [_spread(f"    {phase}", each) for phase, each in notice["by_phase"].items()]
    lines += [_spread(f"      {kind}", each) for kind, each in notice["by_kind"].items()]
    lines += ["", _row("seconds until it is asked for", "p50", "p95", "max", "of")]
    lines += [_spread(f"    {kind}", each) for kind, each in document["asked_seconds"].items()]
    lines += ["", _row("phase", "minutes", "calls", "calls/s", "peak 1 s", "cpu s/min", "core", "MiB")]
    for name, phase in phases.items():
        part, cpu = calls["by_phase"][name], operator["by_phase"].get(name, {})
        lines.append(
            _row(
                f"  {name}",
                round(phase["minutes"], 1),
                part["calls"],
                part["mean_per_second"],
                part["peak_in_a_second"],
                cpu.get("cpu_seconds_per_simulated_minute", "-"),
                cpu.get("share_of_a_core_at_real_speed", "-"),
                round(phase["operator_rss_mib"]),
            )
        )
    lines += [
        _row("  idle, CPU seconds per real minute", operator["idle_cpu_seconds_per_real_minute"]),
        _row("  most memory, MiB", operator["peak_rss_mib"]),
        _row("  machine while measuring: operator, all, cores", *_load(operator)),
        f"  bucket: {calls['bucket']['rate']:g}/s, burst {calls['bucket']['burst']}; a burst of {calls['burst_needed']:g} would have been needed",
        "",
    ]
    for name, goal in document["goals"].items():
        lines.append(
            _row(f"{'met   ' if goal['met'] else 'MISSED'} {name}", goal["measured"], f"goal {goal['goal']:g}")
        )
    lines += [
        f"{'ok    ' if check['passed'] else 'WRONG '} {check['name']}: {check['detail']}"
        for check in document["checks"]
    ]
    return "\n".join(lines)


def _load(operator: dict[str, Any]) -> tuple[float, float]:
    steady = operator["by_phase"]["steady"]
    return steady["share_of_a_core_while_measuring"], steady["machine_busy_cores"]


def _row(name: str, *values: Any) -> str:
    return f"{name:<{_WIDTH}}" + "".join(f"{value!s:>10}" for value in values)


def _spread(name: str, figures: dict[str, Any]) -> str:
    return _row(name, *(figures.get(key, "-") for key in ("p50", "p95", "max", "count")))
