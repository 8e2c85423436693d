"""Entry point of `python -m examples.demo`: runs the main job and leaves a report, or says why it could not."""

import sys
from datetime import UTC, datetime

from examples.demo import report
from examples.demo.addons import ADDONS_NAMESPACE, ensure_addons
from examples.demo.cluster import Cluster, delete_kind_cluster
from examples.demo.explain import explain
from examples.demo.load import ensure_clients
from examples.demo.predict import predict_with_curl
from examples.demo.progress import Steps, reason_of, say
from examples.demo.scenario import NAME, Scenario
from examples.demo.settings import Settings, parse
from examples.demo.shell import display, prepare_environment
from examples.demo.stack import SYSTEM_NAMESPACE, Stack, ensure_images, install_chart, uninstall, versions
from examples.demo.start import start_cluster
from examples.demo.watch import Sampler

TOTAL_STEPS = 9
REPORT_FILES = ("report.md", "report.json", "run.png")


def main() -> int:
    """Run what the command line asks for; returns 1 where the run did not pass."""
    settings = parse()
    prepare_environment()
    began = datetime.now(UTC)
    if settings.action == "down":
        return _take_down(settings)
    run = report.Run(began=began)
    for name in REPORT_FILES:
        (settings.out / name).unlink(missing_ok=True)
    steps = Steps(total=TOTAL_STEPS)
    found: dict[str, Cluster] = {}
    try:
        _play(settings, run=run, steps=steps, found=found)
    except KeyboardInterrupt:
        run.failure = "interrupted"
    except Exception as error:  # noqa: BLE001 - whatever it was, the report and the cluster's own words are worth having
        run.failure = reason_of(error)
        if found:
            print(explain(found["cluster"], namespace=settings.namespace, system_namespace=SYSTEM_NAMESPACE,
                          addons_namespace=ADDONS_NAMESPACE))  # fmt: skip
    run.steps = steps.seconds
    report.write(run, folder=settings.out)
    return _verdict(run, settings=settings, steps=steps)


def _play(settings: Settings, *, run: report.Run, steps: Steps, found: dict[str, Cluster]) -> None:
    """Go through the steps; what is learnt lies in `run` even where one of them fails."""
    out = settings.out
    with steps.step(f"A cluster ({settings.cluster}) and the programs to drive it"):
        cluster = found["cluster"] = start_cluster(settings)
        ensure_clients()
    with steps.step("Images of the operator and the model server; an S3 server and Prometheus in the cluster"):
        images = ensure_images(cluster, out=out, registry=settings.registry)
        addons = ensure_addons(cluster, out=out)
    with steps.step("The operator, by its Helm chart"):
        install_chart(cluster, images=images, addons=addons, out=out)
        run.versions = versions(cluster, images=images)
    stack = Stack(operator=images[0], server=images[1], addons=addons)
    scenario = Scenario(cluster=cluster, stack=stack, settings=settings, run=run)
    with steps.step("Data, in the bucket"):
        dataset = scenario.put_data()
    with steps.step("Train: a TrainingJob, and the ModelEndpoint that waits for it"):
        job = scenario.train(dataset)
    with steps.step("Serve: the endpoint loads this very model"):
        scenario.serve(job)
    with Sampler(cluster, name=NAME, namespace=settings.namespace) as sampler, scenario.reach() as url:
        with steps.step("Predict, with curl"):
            run.predictions = predict_with_curl(url, sample=dataset.sample(), folder=out)
        with steps.step("Load: more than one replica should carry"):
            scenario.put_load(url, dataset=dataset, sampler=sampler)
    with steps.step("What Prometheus saw, and the report"):
        scenario.evaluate(sampler)


def _verdict(run: report.Run, *, settings: Settings, steps: Steps) -> int:
    """Print how it went and where the report lies; take everything down where asked."""
    bad = report.problems(run)
    print()
    for line in bad:
        say(f"PROBLEM: {line}")
    if not bad and run.train and run.load and run.scaling:
        say(
            f"All went well in {sum(steps.seconds.values()):.0f} s: accuracy {run.train.accuracy:.4f}; "
            f"{run.load.requests} requests, none failed, p99 {run.load.p99_ms:.1f} ms; "
            f"{run.scaling.start} → {run.scaling.most} replicas, the first decision after {run.scaling.first_decision} s"
        )
    for name in REPORT_FILES:
        if (settings.out / name).exists():
            say(f"see {display(settings.out / name)}")
    if settings.down:
        return _take_down(settings) or int(bool(bad))
    if run.versions:
        given = {"CLUSTER": settings.cluster if settings.cluster != "devcluster" else None, "CONTEXT": settings.context}
        words = ["make demo-down", *(f"{name}={value}" for name, value in given.items() if value)]
        say(f"everything still runs; `{' '.join(words)}` removes it")
    return 1 if bad else 0


def _take_down(settings: Settings) -> int:
    """Remove what the demo installed, or the whole kind cluster that it made; 1 where that failed."""
    try:
        cluster = start_cluster(settings, existing=True)
        if not delete_kind_cluster(cluster):
            uninstall(cluster, namespace=settings.namespace)
    except Exception as error:  # noqa: BLE001
        say(f"FAILED: {reason_of(error)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
