"""``sagebrush replay``: what a policy would have done with recorded traffic, beside what others would have done."""

import argparse
import re
import sys
from pathlib import Path

from sagebrush.api.meta import Backend, parse_duration
from sagebrush.replay.autoscaler import PODS, PROMETHEUS_15S
from sagebrush.replay.contenders import (
    IN_CLUSTER,
    ON_SAGEMAKER,
    SAGEMAKER_STARTUP_SECONDS,
    Contender,
    ours,
)
from sagebrush.replay.files import EVALUATED_DAYS, TraceError, read_trace
from sagebrush.replay.manifest import ManifestError, Replayed, read_policy
from sagebrush.replay.plot import PlotError, check, plot
from sagebrush.replay.prometheus import fetched_trace, query_of
from sagebrush.replay.queueing import Service
from sagebrush.replay.report import as_json, table
from sagebrush.replay.run import replay
from sagebrush.replay.system import System
from sagebrush.replay.trace import DAY, Trace

DEFAULT_STARTUP_SECONDS = 10
DEFAULT_LATENCY_SECONDS = 0.5
DEFAULT_WORKERS = 8


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="a ModelEndpoint's manifest, or its scaling block"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--trace", type=Path, metavar="FILE", help="CSV with a header: second or minute, then requests")
    source.add_argument("--prometheus", metavar="URL", help="ask this Prometheus for the endpoint's own traffic")
    parser.add_argument("--range", default="14d", help="how far back to ask Prometheus (default: 14d)")
    parser.add_argument("--step", default="15s", help="between two points asked of Prometheus (default: 15s)")
    parser.add_argument("--query", help="PromQL for requests per second, where the endpoint's own metric is not wanted")
    parser.add_argument(
        "--judge",
        default=f"{EVALUATED_DAYS}d",
        help="the end of the traffic that is judged; what is before it is the policy's history (default: 3d)",
    )
    parser.add_argument(
        "--capacity",
        type=float,
        metavar="REQUESTS/S",
        help="what one replica can do; `sagebrush capacity-test` measures it (default: as the manifest states)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help=f"requests that a replica works on at the same time (default: as stated, else {DEFAULT_WORKERS})",
    )
    parser.add_argument("--latency", help="bound above which a request is late (default: the policy's, else 500ms)")
    parser.add_argument("--startup", help="from a decision to Ready (default: as measured, else 10s; 6m on SageMaker)")
    parser.add_argument("--bounded-queue", action="store_true", help="replicas refuse what would wait beyond the bound")
    parser.add_argument("--price", type=float, help="of one replica for an hour, to tell cost as money")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw demand, replicas and late requests (png, svg)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def run(args: argparse.Namespace) -> int:
    """Replays and prints; 0, or 2 where something given can't be used."""
    try:
        return _run(args)
    except (ManifestError, TraceError, PlotError, _FlagError) as error:
        print(f"sagebrush replay: {error}", file=sys.stderr)
        return 2


class _FlagError(Exception):
    """A flag can't be used; the message says how to give it."""


def _run(args: argparse.Namespace) -> int:
    policy = read_policy(args.policy)
    if policy.scaling.target.query is not None:
        raise _FlagError("target.query can't be replayed: traffic does not say what your PromQL would have answered")
    _check_outputs(args)
    service = _service(args, policy=policy)
    trace = _trace(args, policy=policy, service=service)
    sagemaker = policy.backend is Backend.SAGEMAKER
    startup = _startup_seconds(args, policy=policy)
    system = System(
        startup_seconds=startup,
        serialised=sagemaker,
        bounded_queue=args.bounded_queue,
        pipeline=PODS if policy.scaling.source == "Pods" else PROMETHEUS_15S,
        minimum=policy.scaling.min_replicas,
        maximum=policy.scaling.max_replicas,
    )
    print(_introduction(trace, system=system))
    contenders: tuple[Contender, ...] = (ours(policy.scaling), *(() if sagemaker else IN_CLUSTER), *ON_SAGEMAKER)
    results = [replay(trace, contender, system, price_per_hour=args.price) for contender in contenders]
    rows = [row for row, _ in results]
    print(table(rows))
    print(
        "late: waited beyond the bound, or lost. cost: replica-seconds by those of somebody who knew the traffic. "
        f"TT is SageMaker's target tracking, with {max(startup, SAGEMAKER_STARTUP_SECONDS)} s to start an instance."
    )
    if args.json:
        args.json.write_text(as_json(rows))
    if args.plot:
        # A picture of six lines can be read, one of nine can't.
        shown = [(row.policy, outcome) for row, outcome in results if not row.policy.endswith("0.6")][:6]
        plot(args.plot, trace=trace, outcomes=shown)
        print(f"wrote {args.plot}")
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Before the replay, not after it."""
    if args.plot:
        check(args.plot)
    if args.json and (args.json.is_dir() or not args.json.parent.is_dir()):
        raise _FlagError(f"--json {args.json}: give a file in a folder that there is")


def _introduction(trace: Trace, *, system: System) -> str:
    service = trace.service
    return (
        f"{trace.name}: {trace.seconds / 3600:.1f} h judged, after {trace.evaluated_from / DAY:.1f} days of history; "
        f"{trace.judged.mean():.1f} requests/s on average, {trace.judged.max():.0f} at most.\n"
        f"A replica: {service.capacity:g} requests/s, {service.workers} at the same time, Ready after "
        f"{system.startup_seconds} s; late after {service.wait_seconds:g} s of waiting. "
        f"Metrics: {system.pipeline.name}."
    )


def _trace(args: argparse.Namespace, *, policy: Replayed, service: Service) -> Trace:
    days = seconds_of(args.judge, flag="--judge") / DAY
    if args.trace is not None:
        return read_trace(args.trace, service=service, days=days)
    if args.query is None and policy.name is None:
        raise _FlagError("the policy file names no endpoint: give a ModelEndpoint's manifest, or --query")
    step = round(seconds_of(args.step, flag="--step"))
    if step < 1:
        raise _FlagError("--step: at least 1s")
    query = args.query or query_of(namespace=policy.namespace, endpoint=policy.name or "", step_seconds=step)
    trace, missing = fetched_trace(
        args.prometheus,
        query=query,
        seconds=round(seconds_of(args.range, flag="--range")),
        step_seconds=step,
        service=service,
        name=policy.name or "Prometheus",
        days=days,
    )
    if missing > 0:
        print(f"Prometheus lacks {100 * missing:.1f} % of the points: taken as a line between their neighbours.")
    return trace


def _service(args: argparse.Namespace, *, policy: Replayed) -> Service:
    capacity = args.capacity or policy.capacity
    if capacity is None or capacity <= 0:
        raise _FlagError(
            "what can one replica do? Give --capacity in requests/s; `sagebrush capacity-test` measures it, and "
            "`kubectl get modelendpoint NAME -o yaml` as the policy file brings what was measured"
        )
    workers = args.workers or policy.workers or DEFAULT_WORKERS
    bound = args.latency or policy.scaling.target.latency
    latency = seconds_of(bound, flag="--latency") if bound else DEFAULT_LATENCY_SECONDS
    alone = workers / capacity
    if latency <= alone:
        raise _FlagError(
            f"a request takes {alone:.3g} s by itself ({workers} at the same time at {capacity:g}/s), which is more "
            f"than the bound of {latency:g} s: raise the bound, or correct --capacity or --workers"
        )
    return Service(capacity=capacity, wait_seconds=latency - alone, workers=workers)


def _startup_seconds(args: argparse.Namespace, *, policy: Replayed) -> int:
    if args.startup:
        return round(seconds_of(args.startup, flag="--startup"))
    if policy.startup_seconds is not None:
        return round(policy.startup_seconds)
    return SAGEMAKER_STARTUP_SECONDS if policy.backend is Backend.SAGEMAKER else DEFAULT_STARTUP_SECONDS


def seconds_of(text: str, *, flag: str) -> float:
    """``14d``, ``1h30m``, ``10s`` or ``500ms`` in seconds."""
    short = re.fullmatch(r"([0-9]{1,6})(ms|d)", text)
    if short:
        return int(short[1]) * (DAY if short[2] == "d" else 0.001)
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise _FlagError(f"{flag}: {error}") from error
