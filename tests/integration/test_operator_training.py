"""The operator and a TrainingJob's Job, with the real Job controller; the tests play the kubelet."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.kubelet import SHA256, Kubelet, at, ended, running, uploaded, waiting
from tests.integration.kube import Kube, condition, wait_for
from tests.integration.manifests import changed, endpoint, training_job
from tests.integration.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("operator")

PODS = "sagebrush.dev/training-job=job"
URI = "s3://bucket/output/job/output/model.tar.gz"


def test_job_must_pass_its_phases(kube: Kube, namespace: str, kubelet: Kubelet):
    """Pending, Downloading, Training, Uploading, Completed: each is reported, and the artifact with its checksum at the end."""
    owner = kube.apply(training_job("job", namespace))
    job = kube.wait("Job", namespace, "job")
    assert job["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert "sagebrush" in {entry["manager"] for entry in job["metadata"]["managedFields"]}
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    status = kube.wait_ready("TrainingJob", namespace, "job", "Pending")["status"]
    assert status["jobName"] == "job"
    assert status["startTime"]
    for report, phase in (
        (kubelet.downloading, "Downloading"),
        (kubelet.training, "Training"),
        (kubelet.trained, "Uploading"),
    ):
        report(pod)
        assert kube.wait_ready("TrainingJob", namespace, "job", phase)["status"]["phase"] == phase
    kubelet.completed(pod, message=uploaded(URI))
    body = kube.wait_ready("TrainingJob", namespace, "job", "Completed")
    status = body["status"]
    assert status["modelArtifact"] == {"uri": URI, "sha256": SHA256, "sizeBytes": 1234}
    assert (status["trainingSeconds"], condition(body, "Ready")["status"]) == (7, "True")
    phases = [entry["phase"] for entry in status["transitions"]]
    assert phases == ["Pending", "Downloading", "Training", "Uploading", "Completed"]
    assert all(entry.get("endTime") for entry in status["transitions"])
    wait_for(
        lambda: {"Training", "Completed"} <= {event[1] for event in kube.events(namespace, "job")},
        "the Events",
        otherwise=lambda: str(kube.events(namespace, "job")),
    )
    reasons = [event[1] for event in kube.events(namespace, "job")]
    assert sorted(set(reasons)) == sorted(reasons), "an Event for each transition, none twice"


def test_short_phases_must_be_filled_in(kube: Kube, namespace: str, kubelet: Kubelet):
    """A job that is over before anybody looked still shows the phases that it went through."""
    kube.apply(training_job("job", namespace))
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0])
    status = kube.wait_ready("TrainingJob", namespace, "job", "Completed")["status"]
    phases = {entry["phase"] for entry in status["transitions"]}
    assert {"Downloading", "Training", "Uploading", "Completed"} <= phases


def test_unreachable_log_must_not_hold_up_completion(
    kube: Kube, namespace: str, kubelet: Kubelet, operator: OperatorProcess
):
    """Metrics come from the log; a node that never answers again costs the metrics, not the job's end."""
    dead = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}},
    }
    name = f"dead-{namespace}"
    kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    kube.patch("Node", None, name, {"status": dead}, subresource="status")
    try:
        kube.apply(training_job("job", namespace))
        (pod,) = kube.wait_pods(namespace, PODS, 1)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod["metadata"]["name"]},
            "target": {"kind": "Node", "name": name},
        }
        kube.call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/binding", binding)
        # It ended just now: the log may still come. Then an hour ago: nobody waits for it any longer.
        init = [ended("fetch"), ended("agent", message=uploaded(URI))]
        kubelet.report(pod, "Succeeded", init=init, main=[ended("train")])
        tried = f" {namespace}/job] "
        wait_for(
            lambda: [line for line in operator.text().splitlines() if tried in line and "; again in " in line],
            "an attempt to read the log",
        )
        body = kube.wait("TrainingJob", namespace, "job", lambda body: body["status"]["phase"])
        assert body["status"]["phase"] != "Completed"
        long_ago = ended("train", since=datetime.now(UTC) - timedelta(hours=1))
        kubelet.report(pod, "Succeeded", init=init, main=[long_ago])
        status = kube.wait_ready("TrainingJob", namespace, "job", "Completed")["status"]
        assert "metrics" not in status or not status["metrics"]
        assert status["modelArtifact"]["uri"] == URI
    finally:
        kube.delete("Node", None, name)


def test_job_without_a_model_must_complete_and_say_so(kube: Kube, namespace: str, kubelet: Kubelet):
    """An algorithm that leaves nothing completes; an endpoint that refers to it stalls with the reason."""
    kube.apply(training_job("job", namespace))
    kube.apply(endpoint("model", namespace, model={"trainingJobRef": {"name": "job"}}))
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0], message='{"artifact": null}')
    body = kube.wait_ready("TrainingJob", namespace, "job", "Completed")
    assert "left nothing in /opt/ml/model" in condition(body, "Ready")["message"]
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "NoModelArtifact")
    assert condition(body, "Stalled")["status"] == "True"


def test_endpoint_must_wait_for_its_training_job(kube: Kube, namespace: str, kubelet: Kubelet):
    """Applied before its job, an endpoint says what it waits for, and serves that very model once there is one."""
    kube.apply(endpoint("model", namespace, model={"trainingJobRef": {"name": "job"}}))
    body = kube.wait_ready("ModelEndpoint", namespace, "model", "TrainingJobNotFound")
    assert "TrainingJob job" in condition(body, "Ready")["message"]
    assert kube.get("Deployment", namespace, "model") is None
    kube.apply(training_job("job", namespace))
    kube.wait_ready("ModelEndpoint", namespace, "model", "WaitingForTrainingJob")
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0], message=uploaded(URI))
    deployment = kube.wait("Deployment", namespace, "model")
    fetch = deployment["spec"]["template"]["spec"]["initContainers"][0]
    assert json.loads(fetch["env"][0]["value"]) == {"uri": URI, "sha256": SHA256}
    status = kube.wait_ready("ModelEndpoint", namespace, "model", "Starting")["status"]
    assert (status["model"]["uri"], status["model"]["sha256"]) == (URI, SHA256)


FAILURES = {
    "failure file": (
        ended("train", 1, message="ClientError: feature_dim must be an integer"),
        "AlgorithmError",
        "ClientError: feature_dim must be an integer",
        "User",
        1,
    ),
    "nothing said": (ended("train", 3), "AlgorithmError", "ended with exit code 3 and said nothing", "User", 3),
    "memory": (
        ended("train", 137, reason="OOMKilled"),
        "OutOfMemory",
        "more memory than 1Gi; raise spec.cluster.resources.limits.memory",
        "User",
        137,
    ),
}


@pytest.mark.parametrize(("train", "reason", "words", "blame", "code"), FAILURES.values(), ids=FAILURES.keys())
def test_failed_training_must_say_why(kube: Kube, namespace: str, kubelet: Kubelet, train, reason, words, blame, code):
    """What the container wrote to its failure file, or the limit that killed it, is the reason of the failed job."""
    kube.apply(training_job("job", namespace, cluster={"resources": {"limits": {"memory": "1Gi"}}}))
    kubelet.failed(kube.wait_pods(namespace, PODS, 1)[0], train)
    body = kube.wait_ready("TrainingJob", namespace, "job", reason)
    status = body["status"]
    assert words in condition(body, "Ready")["message"]
    assert (status["phase"], status["failure"]["failureClass"], status["failure"]["exitCode"]) == (
        "Failed",
        blame,
        code,
    )
    assert condition(body, "Stalled")["status"] == "True"
    kube.apply(endpoint("model", namespace, model={"trainingJobRef": {"name": "job"}}))
    told = kube.wait_ready("ModelEndpoint", namespace, "model", "TrainingJobFailed")
    assert words in condition(told, "Ready")["message"]


def test_failed_upload_must_fail_the_job(kube: Kube, namespace: str, kubelet: Kubelet):
    """Kubernetes calls the Job complete although its model is lost; we don't."""
    kube.apply(training_job("job", namespace))
    said = json.dumps({"error": "the upload of s3://bucket/output did not finish: access denied"})
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0], message=said)
    body = kube.wait_ready("TrainingJob", namespace, "job", "UploadFailed")
    assert "access denied" in condition(body, "Ready")["message"]
    assert body["status"]["phase"] == "Failed"


def test_missing_data_must_name_the_uri(kube: Kube, namespace: str, kubelet: Kubelet):
    """A channel that can't be fetched fails the job with its address."""
    kube.apply(training_job("job", namespace))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    fetch = ended("fetch", 2, message="channel train: there is nothing under s3://bucket/train")
    kubelet.report(pod, "Failed", init=[fetch, waiting("agent")], main=[waiting("train")])
    body = kube.wait_ready("TrainingJob", namespace, "job", "DownloadFailed")
    assert "s3://bucket/train" in condition(body, "Ready")["message"]
    assert body["status"]["failure"]["failureClass"] == "User"


def test_image_that_cannot_be_pulled_must_be_told(kube: Kube, namespace: str, kubelet: Kubelet):
    """The job waits, since an image may yet come, and says which container can't start and why."""
    kube.apply(training_job("job", namespace, algorithm={"image": "nowhere/x"}))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    stuck = waiting("train", "ImagePullBackOff", 'Back-off pulling image "nowhere/x"')
    kubelet.report(pod, "Pending", init=[ended("fetch"), running("agent")], main=[stuck])
    body = kube.wait_ready("TrainingJob", namespace, "job", "ImagePullFailed")
    assert 'Back-off pulling image "nowhere/x"' in condition(body, "Ready")["message"]
    assert body["status"]["phase"] not in ("Failed", "Completed")
    kubelet.training(pod)
    kube.wait_ready("TrainingJob", namespace, "job", "Training")


def test_max_runtime_must_stop_the_job(kube: Kube, namespace: str, kubelet: Kubelet):
    """The kubelet ends a pod past its deadline; the job is Stopped, and what was saved by then is kept."""
    kube.apply(training_job("job", namespace, maxRuntime="1m"))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    assert pod["spec"]["activeDeadlineSeconds"] == 60
    more = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"}
    kubelet.failed(pod, ended("train", 143), agent=uploaded(URI), **more)
    body = kube.wait_ready("TrainingJob", namespace, "job", "MaxRuntimeExceeded")
    assert (body["status"]["phase"], body["status"]["modelArtifact"]["uri"]) == ("Stopped", URI)


def test_disrupted_pod_must_be_replaced(kube: Kube, namespace: str, kubelet: Kubelet):
    """A pod that the cluster evicts is nobody's failure: the job says Interrupted, and a new pod starts over."""
    kube.apply(training_job("job", namespace))
    (pod,) = kube.wait_pods(namespace, PODS, 1)
    kubelet.training(pod)
    kube.wait_ready("TrainingJob", namespace, "job", "Training")
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "lastTransitionTime": at(datetime.now(UTC)),
    }
    kubelet.failed(pod, ended("train", 143), conditions=[target])
    wait_for(lambda: len(kube.find_all("Pod", namespace, PODS)) == 2, "a second pod")
    kube.wait("TrainingJob", namespace, "job", lambda body: body["status"]["phase"] in ("Interrupted", "Pending"))
    (second,) = [p for p in kube.find_all("Pod", namespace, PODS) if p["metadata"]["uid"] != pod["metadata"]["uid"]]
    kubelet.completed(second)
    kube.wait_ready("TrainingJob", namespace, "job", "Completed")


def test_suspended_job_must_stop_and_resume(kube: Kube, namespace: str, kubelet: Kubelet):
    """suspend: true ends the pods, false starts new ones."""
    kube.apply(training_job("job", namespace))
    kubelet.training(kube.wait_pods(namespace, PODS, 1)[0])
    kube.wait_ready("TrainingJob", namespace, "job", "Training")
    kube.patch("TrainingJob", namespace, "job", {"spec": {"suspend": True}})
    kube.wait("Job", namespace, "job", lambda body: body["spec"]["suspend"])
    kube.wait_pods(namespace, PODS, 0)
    # First it says that the pods are being stopped; at rest only once they are.
    body = kube.wait("TrainingJob", namespace, "job", lambda body: condition(body, "Reconciling")["status"] == "False")
    assert (body["status"]["phase"], condition(body, "Ready")["reason"]) == ("Suspended", "Suspended")
    kube.patch("TrainingJob", namespace, "job", {"spec": {"suspend": False}})
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0])
    kube.wait_ready("TrainingJob", namespace, "job", "Completed")


def test_suspended_job_must_honour_edits_before_its_start(kube: Kube, namespace: str):
    """A job that was created suspended may still be changed, and starts as it was last written."""
    kube.apply(training_job("job", namespace, suspend=True))
    status = kube.wait_ready("TrainingJob", namespace, "job", "Suspended")["status"]
    assert "startTime" not in status
    assert kube.get("Job", namespace, "job") is None
    edited = changed(training_job("job", namespace, suspend=True), {"spec.algorithm": {"image": "mine:2"}})
    kube.apply(changed(edited, {"spec.instanceCount": 2}))
    kube.apply(changed(edited, {"spec.suspend": False}))
    pods = kube.wait_pods(namespace, PODS, 1)
    assert pods[0]["spec"]["containers"][0]["image"] == "mine:2"


def test_deleted_job_must_be_made_again(kube: Kube, namespace: str):
    """A Job that somebody deletes comes back, and training starts over."""
    kube.apply(training_job("job", namespace))
    uid = kube.wait("Job", namespace, "job")["metadata"]["uid"]
    kube.wait_pods(namespace, PODS, 1)
    kube.wait_ready("TrainingJob", namespace, "job", "Pending")
    kube.delete("Job", namespace, "job")
    kube.wait("Job", namespace, "job", lambda body: body["metadata"]["uid"] != uid)


def test_finished_job_must_stay_a_record(kube: Kube, namespace: str, kubelet: Kubelet):
    """Once Completed, a job does not train again when its Job is cleaned up."""
    kube.apply(training_job("job", namespace))
    kubelet.completed(kube.wait_pods(namespace, PODS, 1)[0])
    kube.wait_ready("TrainingJob", namespace, "job", "Completed")
    kube.delete("Job", namespace, "job")
    kube.wait_gone("Job", namespace, "job")
    kube.patch("TrainingJob", namespace, "job", {"spec": {"suspend": True}})
    body = kube.wait("TrainingJob", namespace, "job", lambda body: body["status"]["observedGeneration"] == 2)
    assert body["status"]["phase"] == "Completed"
    assert kube.get("Job", namespace, "job") is None


def test_several_instances_must_find_each_other(kube: Kube, namespace: str, kubelet: Kubelet):
    """An Indexed Job with a headless Service whose EndpointSlice names the pods algo-1 and algo-2."""
    kube.apply(training_job("job", namespace, instanceCount=2))
    assert kube.wait("Job", namespace, "job")["spec"]["completionMode"] == "Indexed"
    assert kube.wait("Service", namespace, "job-hosts")["spec"]["clusterIP"] == "None"
    pods = kube.wait_pods(namespace, PODS, 2)
    for number, pod in enumerate(pods, start=1):
        kubelet.report(
            pod,
            "Pending",
            podIPs=[{"ip": f"10.0.0.{number}"}],
            podIP=f"10.0.0.{number}",
            init=[running("fetch", ready=False)],
        )
    body = kube.wait("EndpointSlice", namespace, "job-hosts", lambda body: len(body.get("endpoints") or []) == 2)
    assert [each["hostname"] for each in body["endpoints"]] == ["algo-1", "algo-2"]
    for pod in pods:
        kubelet.completed(
            pod, message=uploaded(URI) if pod["metadata"]["name"].startswith("job-0") else '{"artifact": null}'
        )
    status = kube.wait_ready("TrainingJob", namespace, "job", "Completed")["status"]
    assert status["modelArtifact"]["uri"] == URI


def test_foreign_job_must_not_be_taken_over(kube: Kube, namespace: str):
    """A Job of the same name that is not ours stays as it is, and the TrainingJob says what to do."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "theirs"}]}}
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": namespace},
        "spec": {"template": template},
    }
    uid = kube.create(theirs)["metadata"]["uid"]
    kube.apply(training_job("job", namespace))
    body = kube.wait_ready("TrainingJob", namespace, "job", "NameConflict")
    assert "Job job exists and is not this TrainingJob's" in condition(body, "Stalled")["message"]
    found = kube.get("Job", namespace, "job")["metadata"]
    assert (found["uid"], found.get("ownerReferences")) == (uid, None)


def test_bad_metric_pattern_must_stall(kube: Kube, namespace: str):
    """A pattern that can't be compiled is found before anything runs, by name, and a corrected one goes on."""
    bad = {"image": "x", "metricDefinitions": [{"name": "loss", "regex": "loss=("}]}
    kube.apply(training_job("job", namespace, algorithm=bad))
    body = kube.wait_ready("TrainingJob", namespace, "job", "InvalidSpec")
    assert "spec.algorithm.metricDefinitions[loss].regex" in condition(body, "Stalled")["message"]
    assert kube.get("Job", namespace, "job") is None
    kube.apply(changed(training_job("job", namespace), {"spec.algorithm": {"image": "x"}}))
    kube.wait_ready("TrainingJob", namespace, "job", "Pending")


def test_deleted_training_job_must_leave_nothing(kube: Kube, namespace: str):
    """Deleting it removes the Job and its pods."""
    kube.apply(training_job("job", namespace))
    kube.wait_pods(namespace, PODS, 1)
    kube.delete("TrainingJob", namespace, "job")
    for kind in ("TrainingJob", "Job"):
        kube.wait_gone(kind, namespace, "job")
    wait_for(lambda: not kube.find_all("Pod", namespace), "the end of the pods")
