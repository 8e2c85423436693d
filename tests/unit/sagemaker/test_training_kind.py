"""What the TrainingJob kind asks of AWS before it decides, and what it tells when it can't."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from sagebrush.api.training_job import TrainingJobStatus, TrainingPhase
from sagebrush.backends.sagemaker.training_jobs import SageMakerTrainingJobs
from sagebrush.core.plan import Plan, SpecError
from sagebrush.core.resource import Key, Manifest, Meta
from sagebrush.core.sagemaker import identity
from sagebrush.core.sagemaker.calls import OPERATIONS, Account, AwsError, Call, Problem, Service
from sagebrush.core.sagemaker.defaults import AwsDefaults
from tests.unit.sagemaker.training_builders import (
    ACCOUNT,
    ARN,
    DEFAULTS,
    MARK,
    META,
    NAME,
    NOON,
    OURS,
    RELEASE,
    THEIRS,
    at,
    calls,
    described,
    document,
    ready,
)

KEY = Key("TrainingJob", "demo", "kdd")
TWO_HOURS = 7200.0
FULL = {"Contents": [{"Key": "train/0.csv"}], "KeyCount": 1}


class FakeGateway:
    """Answers by operation: a body, None for absent, or an AwsError that is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {"DescribeTrainingJob": None, "ListObjectsV2": FULL, **answers}
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.ages: list[timedelta] = []
        self.accounts: list[Account] = []
        self.marks: Mapping[str, str] = OURS

    async def read(
        self,
        account: Account,
        *,
        service: Service,
        operation: str,
        parameters: Mapping[str, Any],
        max_age: timedelta = timedelta(0),
    ) -> Mapping[str, Any] | None:
        assert operation in OPERATIONS[service]
        self.accounts.append(account)
        self.asked.append((operation, parameters))
        self.ages.append(max_age)
        answer = self.answers[operation]
        if isinstance(answer, AwsError):
            raise answer
        return answer  # type: ignore[no-any-return]

    async def tags(self, account: Account, *, arn: str, created: datetime | None) -> Mapping[str, str]:
        assert (ARN, NOON) == (arn, created)
        return self.marks

    async def act(self, call: Call) -> Mapping[str, Any]:
        raise AssertionError(f"planning changes nothing: {call}")


def body_of(
    *, status: Mapping[str, Any] | None = None, marked: bool = True, deleted: float | None = None, **spec: Any
) -> Manifest:
    metadata: dict[str, Any] = {"name": META.name, "namespace": META.namespace, "uid": META.uid, "generation": 1}
    if marked:
        metadata["finalizers"] = ["other.example/mark", identity.FINALIZER]
    if deleted is not None:
        metadata["deletionTimestamp"] = at(deleted).isoformat()
    body = {
        "apiVersion": "sagebrush.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": metadata,
        "spec": document(**spec),
    }
    return {**body, "status": dict(status)} if status else body


async def status_after(gateway: FakeGateway, body: Manifest) -> TrainingJobStatus:
    found = (await plan(gateway, body)).status
    assert isinstance(found, TrainingJobStatus)
    return found


async def plan(
    gateway: FakeGateway, body: Manifest, *, seconds: float = TWO_HOURS, defaults: AwsDefaults = DEFAULTS
) -> Plan[Any]:
    return await SageMakerTrainingJobs(gateway=gateway, defaults=lambda: defaults).plan(KEY, body, now=at(seconds))


def asked(gateway: FakeGateway) -> list[str]:
    return [operation for operation, _ in gateway.asked]


async def test_new_job_must_be_looked_for_with_its_inputs_and_asked_for() -> None:
    """First whether the job is there, then whether its data are, then the mark and the call."""
    gateway = FakeGateway()
    found = await plan(gateway, body_of(marked=False))
    assert [MARK, "CreateTrainingJob"] == calls(found)
    assert [
        ("DescribeTrainingJob", {"TrainingJobName": NAME}),
        ("ListObjectsV2", {"Bucket": "bucket", "Prefix": "train/", "MaxKeys": 1}),
    ] == gateway.asked
    assert {ACCOUNT} == set(gateway.accounts)


@pytest.mark.parametrize(
    ("channel", "operation", "parameters"),
    [
        ({"uri": "s3://b"}, "ListObjectsV2", {"Bucket": "b", "Prefix": "", "MaxKeys": 1}),
        ({"uri": "s3://b/x?c#d"}, "ListObjectsV2", {"Bucket": "b", "Prefix": "x?c#d", "MaxKeys": 1}),
        ({"uri": "s3://b/m.json", "dataType": "ManifestFile"}, "HeadObject", {"Bucket": "b", "Key": "m.json"}),
        (
            {
                "uri": "s3://b/m.json",
                "dataType": "AugmentedManifestFile",
                "attributeNames": ["x"],
                "inputMode": "Pipe",
            },
            "HeadObject",
            {"Bucket": "b", "Key": "m.json"},
        ),
    ],
)
@pytest.mark.parametrize("there", [True, False])
async def test_input_must_be_looked_for_by_its_kind(
    channel: dict[str, Any], operation: str, parameters: dict[str, Any], there: bool
) -> None:
    """A prefix needs one object below it, a manifest is one object; nothing there is told by its address."""
    gateway = FakeGateway(ListObjectsV2=FULL if there else {"KeyCount": 0}, HeadObject={} if there else None)
    found = await plan(gateway, body_of(marked=False, channels=[{"name": "train", **channel}]))
    assert (operation, parameters) == gateway.asked[-1]
    assert ([MARK, "CreateTrainingJob"] if there else []) == calls(found)
    if not there:
        assert isinstance(found.status, TrainingJobStatus)
        assert ("Reconciling", "DownloadFailed") == ready(found.status)
        assert f"{channel['uri']} (channel train)" in found.status.conditions[0].message
        assert timedelta(seconds=30) == found.requeue_after
        assert gateway.ages[-1] < found.requeue_after


async def test_bucket_that_is_absent_must_be_a_missing_input() -> None:
    """No such bucket: nothing is there either."""
    found = await status_after(FakeGateway(ListObjectsV2=None), body_of(marked=False))
    assert ("Reconciling", "DownloadFailed") == ready(found)


@pytest.mark.parametrize("problem", [problem for problem in Problem if problem is not Problem.ABSENT])
async def test_input_that_may_not_be_looked_at_must_be_no_obstacle(problem: Problem) -> None:
    """The operator needs no rights in S3: what it can't check SageMaker checks."""
    gateway = FakeGateway(ListObjectsV2=AwsError(problem, "no", operation="ListObjectsV2"))
    assert [MARK, "CreateTrainingJob"] == calls(await plan(gateway, body_of(marked=False)))


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (described("InProgress", "Training"), {}),
        (None, {"suspend": True}),
        (None, {"status": {"phase": "Pending", "startTime": NOON.isoformat()}}),
        (None, {"deleted": 1.0}),
    ],
)
async def test_inputs_must_be_left_alone_once_there_may_be_a_job(answer: Any, more: dict[str, Any]) -> None:
    """S3 is asked only before a job is made."""
    gateway = FakeGateway(DescribeTrainingJob=answer)
    await plan(gateway, body_of(**more))
    assert ["DescribeTrainingJob"] == asked(gateway)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"status": {"phase": "Completed"}}, []),
        ({"status": {"phase": "Failed"}}, []),
        ({"status": {"phase": "Stopped"}, "suspend": True}, []),
        ({"deleted": 1.0, "marked": False}, []),
        ({"deleted": 1.0, "sage_maker": {"deletionPolicy": "Retain"}}, [RELEASE]),
    ],
)
async def test_aws_must_not_be_asked_where_nothing_depends_on_it(more: dict[str, Any], wanted: list[str]) -> None:
    """A record, an object without our mark, and what is to be kept cost no call."""
    gateway = FakeGateway(DescribeTrainingJob=described("InProgress", "Training"))
    assert wanted == calls(await plan(gateway, body_of(**more)))
    assert [] == asked(gateway)


async def test_deletion_of_an_unreadable_spec_without_our_mark_must_pass() -> None:
    """An object that AWS never heard of needs no valid spec to go."""
    body = {**body_of(deleted=1.0, marked=False), "spec": {"nonsense": True}}
    assert () == (await plan(FakeGateway(), body)).actions


async def test_ownership_must_be_read_from_the_tags() -> None:
    """The kind hands the tags on: another's job is a conflict."""
    gateway = FakeGateway(DescribeTrainingJob=described("InProgress", "Training"))
    gateway.marks = THEIRS
    assert ("Stalled", "NameConflict") == ready(await status_after(gateway, body_of()))


@pytest.mark.parametrize(
    ("more", "fresh"),
    [
        ({}, True),
        ({"status": {"phase": "Training", "sageMaker": {"arn": ARN}}}, False),
        ({"status": {"phase": "Training", "sageMaker": {"arn": ARN}}, "deleted": 1.0}, True),
    ],
)
async def test_description_must_be_new_where_it_matters(more: dict[str, Any], fresh: bool) -> None:
    """Before a job was seen, and while it is removed, only a new answer counts; else one of this very look does."""
    gateway = FakeGateway(DescribeTrainingJob=described("InProgress", "Training"))
    await plan(gateway, body_of(**more))
    assert fresh is (gateway.ages[0] == timedelta(0))
    assert gateway.ages[0] < DEFAULTS.polling.active


async def test_error_of_aws_must_not_be_taken_for_absence() -> None:
    """Where SageMaker can't be asked nothing is decided."""
    error = AwsError(Problem.DENIED, "not authorized", operation="DescribeTrainingJob")
    with pytest.raises(AwsError):
        await plan(FakeGateway(DescribeTrainingJob=error), body_of())


async def test_region_must_be_known() -> None:
    """Neither the object nor the operator names a region: the message says where to."""
    with pytest.raises(SpecError, match=r"spec\.sageMaker\.region"):
        await plan(FakeGateway(), body_of(), defaults=AwsDefaults(cluster_id="cluster-1"))


async def test_status_of_a_newer_operator_must_be_readable() -> None:
    """Fields of status that this version doesn't know are no error."""
    found = await status_after(FakeGateway(), body_of(status={"phase": "Completed", "new": 1}))
    assert TrainingPhase.COMPLETED is found.phase


@pytest.mark.parametrize(("final", "kind"), [(True, "Stalled"), (False, "Reconciling")])
def test_stalled_must_tell_once_and_keep_the_rest(final: bool, kind: str) -> None:
    """The reason and AWS' sentence become the conditions; what was known stays; the Event comes once."""
    jobs = SageMakerTrainingJobs(gateway=FakeGateway(), defaults=lambda: DEFAULTS)
    body = body_of(status={"phase": "Training", "jobName": NAME})
    for told in (1, 0):
        found = jobs.stalled(
            Meta.of(body), body, reason="QuotaExceeded", message="is 0 Instances", final=final, now=at(0)
        )
        assert found.status is not None
        assert ((kind, "QuotaExceeded"), TrainingPhase.TRAINING, NAME) == (
            ready(found.status),
            found.status.phase,
            found.status.job_name,
        )
        assert told == len(found.events)
        assert all(event.warning for event in found.events)
        body = {**body, "status": found.status.to_dict()}


def test_nothing_must_be_kept_in_memory() -> None:
    """Forgetting an object and having acted for it are no news to this kind."""
    jobs = SageMakerTrainingJobs(gateway=FakeGateway(), defaults=lambda: DEFAULTS)
    jobs.forget(KEY)
    jobs.acted(META, Plan(status=None))
