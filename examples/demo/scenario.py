"""The main job, step by step, as a user would do it: train, serve, ask, load, watch it scale."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from examples.demo import data, load, metrics, plot, report, watch
from examples.demo.cluster import Cluster, Object
from examples.demo.data import Dataset
from examples.demo.progress import DemoError, say, show, wait_for
from examples.demo.settings import Settings
from examples.demo.shell import REPOSITORY
from examples.demo.stack import Stack

NAME = "kdd"
MANIFESTS = REPOSITORY / "examples" / "kdd"
TRAINING_JOB, ENDPOINT = MANIFESTS / "training-job.yaml", MANIFESTS / "endpoint.yaml"
TRAINING_SECONDS, READY_SECONDS = 900, 240
SETTLE_SECONDS = 240
QUIET_SECONDS = 5


@dataclass(kw_only=True)
class Scenario:
    """One run of the main job on an installed stack; fills `run` as it goes."""

    cluster: Cluster
    stack: Stack
    settings: Settings
    run: report.Run

    @property
    def policy(self) -> dict[str, Any]:
        """Return spec.scaling of the endpoint's manifest."""
        found: dict[str, Any] = yaml.safe_load(ENDPOINT.read_text())["spec"]["scaling"]
        return found

    @property
    def target_per_second(self) -> float:
        """Return the requests per second that each replica should carry."""
        return float(self.policy["target"]["requestsPerMinute"]) / 60

    def put_data(self) -> Dataset:
        """Prepare the data, upload it, and give the namespace its keys to the store."""
        namespace = self.settings.namespace
        dataset = data.prepare(self.settings.data, folder=self.settings.out / "data")
        store = self.stack.addons.store
        with self.stack.addons.reach_s3(self.cluster) as url:
            data.upload(dataset, store=store, url=url)
        self.cluster.ensure_namespace(namespace)
        data.storage_secret(self.cluster, store=store, namespace=namespace)
        say(f"Secret {namespace}/{data.SECRET} holds the keys to the store")
        return dataset

    def train(self, dataset: Dataset) -> Object:
        """Apply both manifests at once, follow the phases until the job is Completed, and return it."""
        cluster, namespace = self.cluster, self.settings.namespace
        old = cluster.ctl(
            "get", f"trainingjob/{NAME}", f"modelendpoint/{NAME}", "-n", namespace, "-o", "name", "--ignore-not-found"
        )
        if old.strip():
            say("removing what an earlier run left: a TrainingJob runs once")
            cluster.ctl("delete", *old.split(), "-n", namespace, "--wait", "--timeout=120s", timeout=150)
        say(
            f"$ kubectl apply -n {namespace} -f {TRAINING_JOB.relative_to(REPOSITORY)} -f {ENDPOINT.relative_to(REPOSITORY)}"
        )
        show(cluster.apply_files([TRAINING_JOB, ENDPOINT], namespace=namespace))
        phases, messages = watch.PhaseReader(), watch.MessageReader()
        newest: dict[str, str] = {}

        def look() -> Object | None:
            job = cluster.get("trainingjob", NAME, namespace=namespace)
            endpoint = cluster.get("modelendpoint", NAME, namespace=namespace)
            for line in [*phases.read(job or {}), *messages.read(endpoint)]:
                say(line)
            newest["detail"] = watch.outlook(job)
            return watch.completed(job)

        job = wait_for(
            "the TrainingJob to complete", check=look, timeout=TRAINING_SECONDS, detail=lambda: newest.get("detail", "")
        )
        self.run.train = train_report(job, dataset=dataset)
        show(cluster.ctl("get", "trainingjob", NAME, "-n", namespace))
        for entry in job["status"].get("metrics", []):
            say(f"metric {entry['name']} = {entry['value']}")
        say(f"model {self.run.train.artifact}, sha256 {self.run.train.sha256}")
        return job

    def serve(self, job: Object) -> Object:
        """Wait until the endpoint serves that very model."""
        begun = watch.parse_time(job["status"]["completionTime"])
        messages = watch.MessageReader()
        namespace = self.settings.namespace

        def look() -> Object | None:
            endpoint = self.cluster.get("modelendpoint", NAME, namespace=namespace)
            for line in messages.read(endpoint):
                say(line)
            return watch.is_ready(endpoint)

        endpoint = wait_for(
            "the ModelEndpoint to be Ready",
            check=look,
            timeout=READY_SECONDS,
            detail=lambda: messages.last[1] or watch.outlook(None),
        )
        self.run.endpoint_ready_seconds = round((datetime.now(UTC) - begun).total_seconds(), 1)
        show(self.cluster.ctl("get", "modelendpoint", NAME, "-n", namespace))
        served = (endpoint["status"].get("model") or {}).get("sha256")
        if served != job["status"]["modelArtifact"]["sha256"]:
            raise DemoError(
                f"the endpoint serves sha256 {served}, and the job left {job['status']['modelArtifact']['sha256']}"
            )
        return endpoint

    @contextmanager
    def reach(self) -> Iterator[str]:
        """Yield the endpoint's address for POST /invocations."""
        service = yaml.safe_load(ENDPOINT.read_text())["spec"]["cluster"]["service"]
        with self.cluster.reach(
            NAME,
            namespace=self.settings.namespace,
            port=service.get("port", 80),
            node_port=service["nodePort"],
            probe=self._is_ours,
        ) as url:
            say(f"the endpoint answers at {url}/invocations")
            yield f"{url}/invocations"

    def _is_ours(self, url: str) -> bool:
        """Tell whether a port belongs to this endpoint, by the checksum that its /ping carries."""
        served = metrics.ping_checksum(f"{url}/ping")
        return self.run.train is not None and served == self.run.train.sha256

    def put_load(self, url: str, *, dataset: Dataset, sampler: watch.Sampler) -> None:
        """Send more than the replicas should carry, then wait until the endpoint is back at its minimum."""
        minimum, most = int(self.policy.get("minReplicas", 1)), int(self.policy["maxReplicas"])
        rate = self.target_per_second * (most - 0.5)
        folder = self.settings.out
        folder.mkdir(parents=True, exist_ok=True)
        number = load.write_bodies(dataset.bodies(), path=folder / "bodies.csv")
        say(
            f"{rate:.0f} requests/s ({rate * 60:.0f} per minute) for {self.settings.load_seconds} s with {number} different "
            f"rows, where each replica should carry {self.target_per_second * 60:.0f} per minute"
        )
        begun = datetime.now(UTC)
        result = load.run_load(
            url,
            bodies=folder / "bodies.csv",
            rate=rate,
            seconds=self.settings.load_seconds,
            result=folder / "load.json",
            progress=sampler.describe,
        )
        window = (begun, datetime.now(UTC))
        self.run.load, self.run.load_window = result, window
        say(
            f"{result.requests} requests, {result.errors} failed, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms"
        )
        if result.first_wrong:
            say(f"the first wrong answer: {result.first_wrong}")
        self._settle(sampler, minimum=minimum, since=window[1])

    def _settle(self, sampler: watch.Sampler, *, minimum: int, since: datetime) -> None:
        """Wait for the way back, and a little longer so that the picture shows it. Not coming back is left to the verdict."""

        def back() -> bool | None:
            since_end = [sample for sample in sampler.samples if sample.time >= since]
            return True if watch.calm_seconds(since_end, replicas=minimum) >= QUIET_SECONDS else None

        try:
            wait_for(
                "the endpoint to go back to its minimum", check=back, timeout=SETTLE_SECONDS, detail=sampler.describe
            )
        except DemoError as error:
            say(str(error))

    def evaluate(self, sampler: watch.Sampler) -> None:
        """Read from samples, status and Prometheus how the run went, and draw the picture."""
        if self.run.load is None or self.run.load_window is None:
            return
        minimum = int(self.policy.get("minReplicas", 1))
        decisions = watch.decisions_of(sampler.endpoint, since=self.run.load_window[0])
        self.run.scaling = report.scaling_report(
            sampler.samples, decisions=decisions, minimum=minimum, window=self.run.load_window
        )
        self.run.final_table = sampler.table_text
        with self.stack.addons.reach_prometheus(self.cluster) as url:
            self.run.versions["prometheus"] = metrics.version(url)
            series = metrics.collect(
                url,
                namespace=self.settings.namespace,
                endpoint=NAME,
                start=self.run.load_window[0] - timedelta(seconds=plot.LEAD_SECONDS),
                end=datetime.now(UTC),
            )
        self.draw(series, samples=sampler.samples)

    def draw(self, series: metrics.Series, *, samples: list[watch.Sample]) -> Path:
        """Draw the picture of the run, and return where it lies."""
        result, scaling, window = self.run.load, self.run.scaling, self.run.load_window
        assert result is not None
        assert scaling is not None
        assert window is not None
        last = samples[-1].ready if samples else scaling.start
        picture = plot.Picture(
            series=series,
            samples=samples,
            decisions=scaling.decisions,
            load_window=window,
            target_per_replica=self.target_per_second,
            title=f"ModelEndpoint {NAME} under load: {result.requests} requests, {result.errors} failed, "
            f"{scaling.start} → {scaling.most} → {last} replicas",
        )
        path = self.settings.out / "run.png"
        plot.draw(picture, path=path)
        return path


def train_report(job: Object, *, dataset: Dataset) -> report.TrainReport:
    """Read how training went from a completed TrainingJob."""
    status = job["status"]
    took = watch.parse_time(status["completionTime"]) - watch.parse_time(status["startTime"])
    return report.TrainReport(
        seconds=round(took.total_seconds(), 1),
        accuracy=watch.metric(job, prefix="validation:", containing="accuracy"),
        artifact=status["modelArtifact"]["uri"],
        sha256=status["modelArtifact"]["sha256"],
        data=dataset.description,
    )
