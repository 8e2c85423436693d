"""Entry point of `python -m examples.sagemaker_demo`: runs the story and leaves a report, or says why it could not."""

import signal
import sys
from datetime import UTC, datetime, timedelta
from types import FrameType

from devcluster import binaries
from examples.demo import metrics
from examples.demo.data import git_revision
from examples.demo.explain import look
from examples.demo.metrics import Point
from examples.demo.progress import Steps, reason_of, say
from examples.demo.shell import display, prepare_environment, tail
from examples.sagemaker_demo import page, plot, report
from examples.sagemaker_demo.files import Files
from examples.sagemaker_demo.scenario import AWS_NAME, NAME, Scenario
from examples.sagemaker_demo.settings import Settings, parse
from examples.sagemaker_demo.stack import Stack, start_stack
from examples.sagemaker_demo.watch import Watcher

TOTAL_STEPS = 8
REPORT_FILES = ("report.md", "report.json", "run.png")
INTERRUPTED = 130
WINDOW = "6s"
LOG_LINES = 60


def main() -> int:
    """Run what the command line asks for; returns 1 where the run did not pass."""
    settings = parse()
    if settings.action == "down":
        print("nothing to remove: with BACKEND=sagemaker the demo stops everything that it starts when it ends")
        return 0
    prepare_environment()
    # Without this a shell's background jobs ignore Ctrl-C, and SIGTERM would leave the processes behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    run = report.Run(began=datetime.now(UTC), speed=settings.speed, short=settings.short)
    for name in REPORT_FILES:
        (settings.out / name).unlink(missing_ok=True)
    steps = Steps(total=TOTAL_STEPS)
    interrupted = False
    try:
        _play(settings, run=run, steps=steps)
    except KeyboardInterrupt:
        interrupted, run.failure = True, "interrupted"
    except Exception as error:  # noqa: BLE001 - whatever it was, the report is worth having
        run.failure = reason_of(error)
    run.steps = steps.seconds
    page.write(run, folder=settings.out)
    code = _verdict(run, settings=settings, steps=steps)
    return INTERRUPTED if interrupted else code


def _play(settings: Settings, *, run: report.Run, steps: Steps) -> None:
    """Go through the steps; what is learnt lies in `run` even where one of them fails."""
    starting = start_stack(settings)
    with steps.step("A Kubernetes API, S3, a simulated SageMaker, Prometheus, and the operator"):
        stack = starting.__enter__()
    try:
        with Watcher(stack.cluster, stack.control, namespace=settings.namespace) as watcher:
            files = Files(cluster=stack.cluster, namespace=settings.namespace, folder=settings.out / "manifests")
            scenario = Scenario(stack=stack, settings=settings, run=run, watcher=watcher, files=files)
            try:
                _tell(scenario, steps=steps, stack=stack)
            except Exception:
                print(_explanation(stack, settings=settings))
                raise
            finally:
                _draw(scenario)
    finally:
        starting.__exit__(None, None, None)


def _tell(scenario: Scenario, *, steps: Steps, stack: Stack) -> None:
    run = scenario.run
    run.versions = {
        "sagebrush": git_revision(),
        "kubernetes": binaries.kubernetes_version(),
        "prometheus": metrics.version(stack.prometheus_url)
        or "built by devcluster, see devcluster/tools/prometheus/go.mod",
        "python": sys.version.split()[0],
    }
    with steps.step("Data, in S3"):
        scenario.put_data()
    with steps.step("Train: a TrainingJob, and ModelEndpoints that wait for it"):
        scenario.train()
    with steps.step("Serve: Creating, InService, Ready"):
        scenario.serve()
    with steps.step("Load: the article's, with 30,000 and 15,000 requests/min for each instance"):
        scenario.put_load()
    with steps.step("Updates: one rolled back silently, a good one, and back by one field"):
        scenario.update()
    with steps.step("Delete"):
        scenario.delete()
    with steps.step("What SageMaker's log says of the operator"):
        scenario.evaluate()


def _draw(scenario: Scenario) -> None:
    """Draw what there is; a picture that can't be drawn is said and no more."""
    run, watcher, settings = scenario.run, scenario.watcher, scenario.settings
    ours, theirs = watcher.of(NAME), watcher.of(AWS_NAME)
    run.most_instances = max((max(each.desired, each.current) for each in ours.samples), default=0)
    run.busy_looks = ours.busy
    if not ours.samples:
        return
    try:
        picture = plot.Picture(
            requests=_requests(scenario.stack, namespace=settings.namespace, since=ours.samples[0].time),
            ours=ours.samples,
            theirs=theirs.samples,
            decisions=run.decisions,
            stages=run.stages,
            speed=settings.speed,
            title=_title(run),
            notes=[(each.time, each.what) for each in run.updates],
        )
        plot.draw(picture, path=settings.out / "run.png")
    except Exception as error:  # noqa: BLE001
        say(f"the picture could not be drawn: {reason_of(error)}")


def _requests(stack: Stack, *, namespace: str, since: datetime) -> list[Point]:
    query = f'60 * sum(rate(sagebrush_invocations_total{{namespace="{namespace}",endpoint_name="{NAME}"}}[{WINDOW}]))'
    start, end = since - timedelta(seconds=1), datetime.now(UTC)
    return metrics.parse_matrix(metrics.query_range(stack.prometheus_url, query=query, start=start, end=end))


def _title(run: report.Run) -> str:
    counts = [1, *(decision.to_replicas for decision in run.decisions)]
    return f"ModelEndpoint {NAME} on a simulated SageMaker: {' → '.join(map(str, counts))} instances"


def _explanation(stack: Stack, *, settings: Settings) -> str:
    """Return objects, events and the operator's last words."""
    where = ("-n", settings.namespace)
    objects = ("get", "trainingjobs,modelendpoints", *where, "-o", "yaml", "--show-managed-fields=false")
    parts = [
        look(stack.cluster, title="the objects", arguments=objects),
        look(
            stack.cluster, title="events", arguments=("get", "events", *where, "--sort-by=.metadata.creationTimestamp")
        ),
        f"--- the operator's log: {display(stack.operator_log)}\n{tail(stack.operator_log, lines=LOG_LINES)}",
    ]
    return "\n".join(parts)


def _verdict(run: report.Run, *, settings: Settings, steps: Steps) -> int:
    """Print how it went and where the report lies."""
    bad = report.problems(run)
    print()
    for line in bad:
        say(f"PROBLEM: {line}")
    if not bad and run.train and run.audit:
        counts = " → ".join(str(count) for count in [1, *(each.to_replicas for each in run.decisions)])
        say(
            f"All went well in {sum(steps.seconds.values()):.0f} s: trained ({run.train.billable_seconds} s billed, "
            f"{run.train.cost:.4f} {run.train.currency}), served, {counts} instances, a silent rollback seen, back by one field, "
            f"nothing left; {run.audit.calls} AWS calls, at most {run.audit.peak_per_second} within a second"
        )
    if run.activities:
        say(report.first_decisions(run))
    for name in REPORT_FILES:
        if (settings.out / name).exists():
            say(f"see {display(settings.out / name)}")
    say("nothing is left running; docs/sagemaker.md says how to do the same with an AWS account")
    return 1 if bad else 0


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
