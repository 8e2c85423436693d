"""What AWS doesn't show for a while after it was made: waited for, not made twice, and not forgotten when the object goes."""

import pytest

from tests.integration.kube import Kube, wait_for
from tests.integration.sagemaker import endpoints, jobs
from tests.integration.sagemaker.aws import Aws, endpoint, training_job

pytestmark = pytest.mark.usefixtures("shared_operator", "quick")

SPEED = 40.0
"""Not as fast as elsewhere: how long the operator waits is counted from before the call, which takes its time on a busy machine."""
UNSEEN_SECONDS = 25
"""Virtual seconds for which AWS doesn't show what it has made; the operator waits for at least a minute."""
CREATES = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")


@pytest.mark.parametrize("kind", ["model", "endpoint-config", "endpoint", "*"])
@pytest.mark.parametrize("lost", [False, True])
def test_what_is_not_shown_yet_must_not_be_made_twice(
    shared_aws: Aws, kube: Kube, namespace: str, kind: str, lost: bool
):
    """AWS may not show for a while what it has just made: it is waited for, and neither taken for lost nor for another's."""
    faults = shared_aws.simulator.faults
    faults.add("eventual_consistency", of=kind, seconds=UNSEEN_SECONDS)
    try:
        if lost:
            for operation in CREATES:
                faults.add("lost_reply", operation=operation, resource=f"{namespace}-*")
        kube.apply(endpoint("kdd", namespace))
        endpoints.wait_serving(kube, namespace)
        endpoints.edit(kube, namespace, endpoints.new_model(shared_aws, 1))
        endpoints.wait_serving(kube, namespace)
    finally:
        faults.clear("eventual_consistency")
    assert 5 == len(endpoints.things(shared_aws, namespace)), endpoints.things(shared_aws, namespace)
    done = "ConnectionLost" if lost else "OK"
    made = endpoints.codes(shared_aws, "CreateEndpoint", namespace)
    assert 1 == made.count(done)
    assert set(made[1:]) <= {"ValidationException"}
    assert ["OK"] == [code for code in endpoints.codes(shared_aws, "UpdateEndpoint", namespace) if code == "OK"]
    assert not {"NameConflict", "InvalidSpec", "Recreating"} & set(endpoints.reasons(kube, namespace))


@pytest.mark.parametrize("moment", ["CreateEndpointConfig", "CreateEndpoint"])
def test_object_deleted_before_it_is_shown_must_leave_nothing(shared_aws: Aws, kube: Kube, namespace: str, moment: str):
    """Deleted while AWS doesn't show what was made, the object waits for it: let go, it would be nobody's."""
    shared_aws.simulator.faults.add("eventual_consistency", of="*", seconds=UNSEEN_SECONDS)
    try:
        kube.apply(endpoint("kdd", namespace))
        wait_for(lambda: "OK" in endpoints.codes(shared_aws, moment, namespace), "the call")
        kube.delete("ModelEndpoint", namespace, "kdd")
        endpoints.wait_gone(shared_aws, kube, namespace)
    finally:
        shared_aws.simulator.faults.clear("eventual_consistency")


@pytest.mark.parametrize("lost", [False, True])
def test_job_that_is_not_shown_yet_must_not_be_made_twice(shared_aws: Aws, kube: Kube, namespace: str, lost: bool):
    """DescribeTrainingJob may not know a new job for a while: that is neither a lost job nor a reason to make another."""
    shared_aws.simulator.faults.add("eventual_consistency", of="training-job", seconds=UNSEEN_SECONDS)
    try:
        jobs.plan_jobs(shared_aws, namespace, duration=jobs.SHORT)
        if lost:
            shared_aws.simulator.faults.add("lost_reply", operation="CreateTrainingJob", resource=f"{namespace}-*")
        kube.apply(training_job("kdd", namespace))
        body = jobs.wait_phase(kube, namespace, "Completed")
    finally:
        shared_aws.simulator.faults.clear("eventual_consistency")
    made = jobs.codes(shared_aws, "CreateTrainingJob", namespace)
    assert ("ConnectionLost" if lost else "OK") == made[0]
    assert set(made[1:]) <= ({"ResourceInUse"} if lost else set())
    assert "ValidationException" in jobs.codes(shared_aws, "DescribeTrainingJob", namespace)[1:], "it was not shown"
    assert [(body["status"]["jobName"], "Completed", "Completed")] == jobs.seen(shared_aws, namespace)
    assert not {"JobLost", "NameConflict"} & set(jobs.reasons(kube, namespace))


def test_object_deleted_before_its_job_is_shown_must_not_leave_it(shared_aws: Aws, kube: Kube, namespace: str):
    """Deleted while SageMaker doesn't show the job yet, the object waits for it: let go, the job would be nobody's."""
    shared_aws.simulator.faults.add("eventual_consistency", of="training-job", seconds=UNSEEN_SECONDS)
    try:
        jobs.plan_jobs(shared_aws, namespace, duration=jobs.LONG)
        kube.apply(training_job("kdd", namespace))
        wait_for(lambda: jobs.codes(shared_aws, "CreateTrainingJob", namespace), "the call")
        kube.delete("TrainingJob", namespace, "kdd")
        jobs.wait_gone(shared_aws, kube, namespace)
    finally:
        shared_aws.simulator.faults.clear("eventual_consistency")
    assert ["OK"] == jobs.codes(shared_aws, "DeleteTrainingJob", namespace)
