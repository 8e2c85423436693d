"""The story, step by step, as a user with an AWS account would live it: train, serve, load, update, roll back, delete."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from examples.demo import data
from examples.demo.cluster import Object
from examples.demo.progress import DemoError, say, show, wait_for
from examples.demo.shell import display, run_long
from examples.demo.watch import PhaseReader, completed, condition, decisions_of, is_ready, outlook
from examples.sagemaker_demo import manifests, report
from examples.sagemaker_demo.audit import audit_of
from examples.sagemaker_demo.files import Files
from examples.sagemaker_demo.settings import Settings
from examples.sagemaker_demo.stack import BURST, CALLS_PER_SECOND, OPERATOR_KEY, Stack
from examples.sagemaker_demo.watch import Watcher, clock

T = TypeVar("T")
NAME, AWS_NAME = "kdd", "kdd-aws"
NAMES = (NAME, AWS_NAME)
REQUESTS_PER_MINUTE = 72_000.0
"""The article's load: 1,200 requests a second."""
FIRST_TARGET, SECOND_TARGET = 30_000, 15_000
"""Requests per minute for each instance: the article's two policies."""
FIRST_COUNT, SECOND_COUNT = 3, 5
MOST_INSTANCES = 6
SCALE_IN_COOLDOWN = "10s"
AWS_COOLDOWN = "5m"
"""AWS' own default, in both directions."""
OTHER_TYPE, GOOD_TYPE = "ml.m5.xlarge", "ml.c5.large"
WAIT_SECONDS = 150.0
QUIET_SECONDS = 330.0
"""An instance that was taken away is data that are missing, until Prometheus' answer does not reach back to it: two steps take long."""
SECOND_PLATEAU_SECONDS = 8.0
"""Short: the minute after the load begins about when the newest instances have been there for a minute."""


@dataclass(kw_only=True)
class Scenario:
    """One run on a stack that stands; fills `run` as it goes."""

    stack: Stack
    settings: Settings
    run: report.Run
    watcher: Watcher
    files: Files

    def put_data(self) -> None:
        """Prepare the data and upload it."""
        dataset = data.prepare(self.settings.data, folder=self.settings.out / "data")
        self.run.data = dataset.description
        data.upload(dataset, store=self.stack.store, url=self.stack.s3_url)

    def train(self) -> None:
        """Apply the job and both endpoints at once; follow the job until it is Completed."""
        fill_in(self.files)
        self.stack.cluster.ensure_namespace(self.settings.namespace)
        self.files.apply("training-job.yaml", "endpoint.yaml", "endpoint-aws.yaml")
        phases = PhaseReader()

        def look() -> Object | None:
            job = self._job()
            for line in phases.read(job):
                say(line)
            return completed(job)

        job = self._wait("the TrainingJob to complete", look, detail=lambda: outlook(self._job()))
        self.run.train = report.train_report(job)
        show(self.stack.cluster.ctl("get", "trainingjob", NAME, "-n", self.settings.namespace))
        self._head(self.run.train.artifact)
        train = self.run.train
        say(
            f"artifact {train.artifact} is in S3; {train.billable_seconds} s billed, about {train.cost:.4f} {train.currency} "
            f"by the chart's price table"
        )

    def serve(self) -> None:
        """Wait until both endpoints serve."""
        for name in NAMES:
            self._wait(f"ModelEndpoint {name} to be Ready", lambda name=name: self._ready(name), name=name)  # type: ignore[misc]
        self.run.serve = report.serve_report(self.watcher.of(NAME).samples)
        serve = self.run.serve
        say(f"Creating took {serve.virtual_seconds:.0f} s of SageMaker's time, {serve.wall_seconds:.1f} s here")
        show(self.stack.cluster.ctl("get", "modelendpoints", "-n", self.settings.namespace))

    def put_load(self) -> None:
        """The article's load with its first target, its second, and then none."""
        begun = self._traffic(REQUESTS_PER_MINUTE)
        self._stage("load", REQUESTS_PER_MINUTE, target=FIRST_TARGET, wanted=FIRST_COUNT, begun=begun)
        say(f"the target becomes {SECOND_TARGET} requests/min for each instance")
        begun = self._now()
        self.files.edit("endpoint.yaml", manifests.value("requestsPerMinute", str(SECOND_TARGET)))
        self.files.edit("endpoint-aws.yaml", manifests.value("requestsPerMinute", str(SECOND_TARGET)))
        self.files.apply("endpoint.yaml", "endpoint-aws.yaml")
        self._stage("target", REQUESTS_PER_MINUTE, target=SECOND_TARGET, wanted=SECOND_COUNT, begun=begun)
        begun = self._traffic(0)
        say("the policy looks at a full minute of this machine's time before it takes instances away")
        self._stage("quiet", 0, target=SECOND_TARGET, wanted=1, begun=begun)

    def update(self) -> None:
        """An update that SageMaker rolls back without a word, a good one, and back to the first by one field."""
        first = self._config()
        first_revision = self.watcher.of(NAME).object["status"]["revision"]
        count = self._newest().desired
        say(
            "the simulator will roll the next update back as AWS does: InService, the old configuration, no FailureReason"
        )
        self.stack.control.fault("silent_rollback", resource=self._endpoint_name(NAME))
        self.files.edit("endpoint.yaml", manifests.value("instanceType", OTHER_TYPE))
        self.files.apply("endpoint.yaml")
        self._wait("the operator to report the rollback", self._rolled_back, name=NAME)
        seen, said = self._newest(), condition(self._object(), "Ready")
        say(
            f"SageMaker says {seen.status}, FailureReason {seen.failure!r}; the operator says {said['reason']}: {said['message']}"
        )
        self._update_seen("silent rollback", first=first, wanted="UpdateRolledBack", config=first, count=count)

        say("another instance type, and nothing stands in its way")
        self.files.edit("endpoint.yaml", manifests.value("instanceType", GOOD_TYPE))
        self.files.apply("endpoint.yaml")
        self._wait("the good update to serve", lambda: self._serves_other(first), name=NAME)
        self._update_seen("good update", first=first, wanted="Serving", config=None, count=count)

        patch = json.dumps({"spec": {"sageMaker": {"revision": first_revision}}})
        where = ["modelendpoint", NAME, "-n", self.settings.namespace]
        say(f"$ kubectl patch {' '.join(where)} --type merge -p '{patch}'")
        show(self.stack.cluster.ctl("patch", *where, "--type", "merge", "-p", patch))
        self._wait("the first revision to serve again", lambda: self._serves(first), name=NAME)
        self._update_seen(
            "rollback by spec.sageMaker.revision", first=first, wanted="Serving", config=first, count=count
        )

    def delete(self) -> None:
        """Delete all objects, the endpoint first, and wait until AWS has nothing of them."""
        self._remember()
        arguments = self.files.arguments("endpoint.yaml", "endpoint-aws.yaml", "training-job.yaml")
        say(f"$ kubectl delete -n {self.settings.namespace} {' '.join(arguments)}")
        command = self.stack.cluster.kubectl_command(
            "delete", "-n", self.settings.namespace, *arguments, "--timeout=120s"
        )
        begun = time.monotonic()
        run_long(command, what="deleting", log=self.settings.out / "logs" / "delete.log", timeout=130, through=True)
        self.run.deletion_seconds = round(time.monotonic() - begun, 1)

    def evaluate(self) -> None:
        """Read the simulator's log, and look at what is left."""
        listed = self.stack.cluster.ctl("get", "trainingjobs,modelendpoints", "-A", "-o", "name").split()
        control = self.stack.control
        self.run.objects_left = listed
        self.run.audit = audit_of(
            control.audit(calls=True),
            key=OPERATOR_KEY,
            state=control.state(),
            orphans=control.orphans([]),
            rate=CALLS_PER_SECOND,
            burst=BURST,
        )
        for line in report.audit_lines(self.run.audit):
            say(line)
        if self.run.train:
            self._head(self.run.train.artifact)
            say(f"{self.run.train.artifact} stays: what was trained is the user's")

    # Load

    def _traffic(self, rate: float) -> report.Moment:
        say(f"{rate:.0f} requests/min ({rate / 60:.0f} per second) on both endpoints")
        moment = self._now()
        for name in NAMES:
            self.stack.control.traffic(self._endpoint_name(name), requests_per_minute=rate)
        return moment

    def _stage(self, name: str, rate: float, *, target: int, wanted: int, begun: report.Moment) -> None:
        """Wait until the endpoint has the instances that are wanted, and for the plateau; Amazon's too, which has its own clock."""
        theirs = 1 if rate == 0 else wanted
        stage = report.Stage(name=name, rate=rate, target=target, wanted=wanted, begun=begun)
        self.run.stages.append(stage)
        limit = WAIT_SECONDS if rate else QUIET_SECONDS
        self._wait(f"{NAME} to have {wanted}", lambda: self._has(NAME, wanted, quiet=rate == 0), name=NAME, limit=limit)
        stage.reached = report.Moment(time=self._newest().time, virtual=self._newest().virtual)
        if not self.settings.short or rate:
            self._wait(
                f"{AWS_NAME} to have {theirs}", lambda: self._has(AWS_NAME, theirs, quiet=rate == 0), name=AWS_NAME
            )
        plateau = self.settings.plateau_seconds if name == "load" else SECOND_PLATEAU_SECONDS
        rest = plateau - (datetime.now(UTC) - begun.time).total_seconds()
        until = time.monotonic() + (rest if rate else 0)
        self._wait("the plateau's end", lambda: True if time.monotonic() >= until else None)
        stage.ended = self._now()

    def _has(self, name: str, count: int, *, quiet: bool) -> bool | None:
        """Tell whether so many instances serve, or fewer where there is no load."""
        sample = self.watcher.newest(name)
        if sample is None or sample.status != "InService" or sample.current != sample.desired:
            return None
        return True if sample.current == count or (quiet and sample.current < count) else None

    # Looking

    def _wait(
        self,
        what: str,
        check: Callable[[], T | None],
        *,
        name: str = "",
        detail: Callable[[], str] | None = None,
        limit: float = WAIT_SECONDS,
    ) -> T:
        """Wait for it as long as everything runs; `name` is the endpoint whose state is shown meanwhile."""

        def look() -> T | None:
            self.stack.check()
            return check()

        described = detail or (lambda: self.watcher.describe(name) if name else "")
        return wait_for(what, check=look, timeout=limit, detail=described)

    def _now(self) -> report.Moment:
        return report.Moment(time=datetime.now(UTC), virtual=float(self.stack.control.time()["now"]))

    def _newest(self, name: str = NAME) -> Any:
        return self.watcher.newest(name)

    def _object(self, name: str = NAME) -> Object:
        return self.stack.cluster.get("modelendpoint", name, namespace=self.settings.namespace) or {}

    def _job(self) -> Object:
        return self.stack.cluster.get("trainingjob", NAME, namespace=self.settings.namespace) or {}

    def _ready(self, name: str) -> Object | None:
        return is_ready(self._object(name))

    def _endpoint_name(self, name: str) -> str:
        found: str = self._object(name)["status"]["sageMaker"]["endpointName"]
        return found

    def _config(self) -> str:
        described = self.stack.aws("sagemaker").describe_endpoint(EndpointName=self._endpoint_name(NAME))
        config: str = described["EndpointConfigName"]
        return config

    def _rolled_back(self) -> bool | None:
        body = self._object()
        ready = condition(body, "Ready")
        current = ready.get("observedGeneration") == body["metadata"]["generation"]
        return True if current and ready["status"] != "True" and ready["reason"] == "UpdateRolledBack" else None

    def _serves_other(self, first: str) -> bool | None:
        return True if is_ready(self._object()) and self._config() != first else None

    def _serves(self, config: str) -> bool | None:
        return True if is_ready(self._object()) and self._config() == config else None

    def _update_seen(self, what: str, *, first: str, wanted: str, config: str | None, count: int) -> None:
        """Keep how an update ended, for the report."""
        body, seen = self._object(), self._config()
        sample = self._newest()
        problems = []
        if condition(body, "Ready")["reason"] != wanted:
            problems.append(f"Ready has reason {condition(body, 'Ready')['reason']}, not {wanted}")
        if config is not None and seen != config:
            problems.append(f"{seen} serves, not {config}")
        if sample.desired != count:
            problems.append(f"{sample.desired} instances, not the {count} from before")
        ready = condition(body, "Ready")
        self.run.updates.append(
            report.Update(
                time=datetime.now(UTC),
                what=what,
                config=seen,
                is_first=seen == first,
                reason=ready["reason"],
                message=ready["message"],
                problems=problems,
            )
        )

    def _remember(self) -> None:
        """Keep what goes with the objects: decisions, revisions, what AWS' own engine did."""
        body = self._object()
        self.run.decisions = decisions_of(body, since=self.run.began)
        self.run.revisions = [entry["revision"] for entry in body["status"].get("revisions", [])]
        self.run.hourly = sorted({cost for cost in self.watcher.of(NAME).hourly if cost})
        self.run.final_table = self.stack.cluster.ctl("get", "modelendpoints", "-n", self.settings.namespace)
        answer = self.stack.aws("application-autoscaling").describe_scaling_activities(ServiceNamespace="sagemaker")
        self.run.activities = report.activities_of(answer["ScalingActivities"], stages=self.run.stages)
        for activity in self.run.activities:
            say(f"Application Auto Scaling {clock(activity.virtual)}: {activity.description}")

    def _head(self, uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            self.stack.aws("s3").head_object(Bucket=bucket, Key=key)
        except Exception as error:
            raise DemoError(f"{uri} is not in S3: {error}") from error


def fill_in(files: Files) -> None:
    """Write the manifests of examples/kdd/sagemaker/ with all that a user would fill in, and show what that is."""
    filling = manifests.placeholders(data.BUCKET)
    target = [
        manifests.value("requestsPerMinute", str(FIRST_TARGET)),
        manifests.value("maxReplicas", str(MOST_INSTANCES)),
    ]
    ours = [*filling, *target, manifests.value("scaleInCooldown", SCALE_IN_COOLDOWN)]
    theirs = [
        *(*filling, *target, manifests.named(AWS_NAME)),
        manifests.engine("ApplicationAutoScaling", cooldown=AWS_COOLDOWN),
        manifests.value("scaleInCooldown", AWS_COOLDOWN),
    ]
    for name, source, changes in (
        ("training-job.yaml", manifests.TRAINING_JOB, filling),
        ("endpoint.yaml", manifests.ENDPOINT, ours),
        ("endpoint-aws.yaml", manifests.ENDPOINT, theirs),
    ):
        before = source.read_text()
        files.write(name, manifests.filled(before, changes))
        say(f"{display(files.folder / name)} is {display(source)} with")
        show(manifests.difference(before, files.texts[name]))
