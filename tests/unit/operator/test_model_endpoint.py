"""ModelEndpoint: which model, how many replicas, and when it is Ready."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sagebrush.api.model_endpoint import ModelEndpointStatus
from sagebrush.api.training_job import ModelArtifact, TrainingJobStatus, TrainingPhase
from sagebrush.core import model_endpoint
from sagebrush.core.conditions import Reason, find
from sagebrush.core.model_endpoint import Observed, reconcile
from sagebrush.core.model_source import SourceJob
from sagebrush.core.plan import Apply, Plan
from sagebrush.core.render import deployment as render
from sagebrush.core.resource import Manifest
from sagebrush.core.scaling.facts import Signals
from sagebrush.core.variant_scaling import ScalingFacts
from tests.fakes.metrics import reading
from tests.unit.operator.builders import (
    ARTIFACT,
    DEFAULTS,
    META,
    OTHER_SHA,
    SHA,
    at,
    crashed,
    endpoint_spec,
    job_spec,
    running,
    scaling,
    serving_pod,
    waiting,
)

NEWER = replace(DEFAULTS, server_image="server:2", version="2.0")


def plan(
    observed: Observed | None = None,
    *,
    status: ModelEndpointStatus | None = None,
    defaults: Any = DEFAULTS,
    now: float = 0,
    **spec: Any,
) -> Plan[ModelEndpointStatus]:
    return reconcile(
        META,
        endpoint_spec(**spec),
        status or ModelEndpointStatus(),
        observed or Observed(),
        defaults=defaults,
        now=at(now),
    )


def status_of(made: Plan[ModelEndpointStatus]) -> ModelEndpointStatus:
    assert made.status is not None
    return made.status


def ready(made: Plan[ModelEndpointStatus]) -> tuple[str, str]:
    condition = find(status_of(made).conditions, "Ready")
    assert condition is not None
    return str(condition.status), condition.reason


def message(made: Plan[ModelEndpointStatus]) -> str:
    condition = find(status_of(made).conditions, "Ready")
    return condition.message if condition else ""


def applied(made: Plan[Any], kind: str) -> Manifest | None:
    found = [a.manifest for a in made.actions if isinstance(a, Apply) and a.manifest["kind"] == kind]
    return json.loads(json.dumps(found[0])) if found else None


def world(made: Plan[Any], before: Observed | None = None, **more: Any) -> Observed:
    before = before or Observed()
    return replace(
        before,
        deployment=applied(made, "Deployment") or before.deployment,
        service=applied(made, "Service") or before.service,
        **more,
    )


def container(manifest: Manifest | None, name: str) -> Manifest:
    assert manifest is not None
    spec = manifest["spec"]["template"]["spec"]
    return next(c for c in (*spec.get("initContainers", []), *spec["containers"]) if c["name"] == name)


def env(found: Manifest) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in found["env"]}


def source(phase: TrainingPhase | None, *, artifact: bool = True, **spec: Any) -> SourceJob:
    model = ModelArtifact(uri=ARTIFACT, sha256=SHA, size_bytes=1) if artifact else None
    return SourceJob(job_spec(**spec), TrainingJobStatus(phase=phase, model_artifact=model))


REF = {"trainingJobRef": {"name": "kdd"}}


def test_deployment_must_speak_the_contract() -> None:
    """fetch and serve as docs/contract.md has them."""
    made = applied(plan(), "Deployment")
    fetch, serve = container(made, "fetch"), container(made, "serve")
    assert ["sagebrush-server", "fetch-model"] == fetch["command"]
    assert {"uri": ARTIFACT, "sha256": SHA} == json.loads(env(fetch)["SAGEBRUSH_MODEL"])
    assert ["serve"] == serve["args"]
    assert {
        "SAGEBRUSH_ENDPOINT_NAME": "kdd",
        "SAGEBRUSH_VARIANT_NAME": "AllTraffic",
        "SAGEBRUSH_MODEL_SHA256": SHA,
        "SAGEBRUSH_METRICS_PORT": "9102",
        "SAGEMAKER_BIND_TO_PORT": "8080",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    } == env(serve)
    assert [True] == [m["readOnly"] for m in serve["volumeMounts"] if m["mountPath"] == "/opt/ml/model"]
    assert 5 == serve["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert made is not None
    assert 35 == made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert {"maxSurge": 1, "maxUnavailable": 0} == made["spec"]["strategy"]["rollingUpdate"]
    assert "9102" == made["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]


@pytest.mark.parametrize(
    ("resources", "environment", "expected"),
    [
        ({}, {}, "1"),
        ({"requests": {"cpu": "50m"}}, {}, "1"),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "3500m"}}, {}, "3"),
        ({"requests": {"cpu": "4"}}, {}, "4"),
        ({"limits": {"memory": "2Gi"}}, {}, "1"),
        ({"requests": {"cpu": "4"}}, {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, "2"),
        ({"requests": {"cpu": "4"}}, {"SAGEMAKER_MULTI_MODEL": "true"}, None),
    ],
)
def test_processes_must_follow_the_cpus(
    resources: dict[str, Any], environment: dict[str, str], expected: str | None
) -> None:
    """A process for each whole CPU of the pod, not of the node; the user's own number wins, and many models are one."""
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    model = {"artifact": {"uri": ARTIFACT}, "environment": variables}
    made = applied(plan(model=model, cluster={"resources": resources}), "Deployment")
    assert expected == env(container(made, "serve")).get("SAGEMAKER_MODEL_SERVER_WORKERS")


def test_probes_must_ask_every_second() -> None:
    """A pod counts soon after it can serve, and has startupTimeout to get there."""
    serve = container(
        applied(plan(model={"artifact": {"uri": ARTIFACT}, "startupTimeout": "2m"}), "Deployment"), "serve"
    )
    assert [1, 1] == [serve[probe]["periodSeconds"] for probe in ("startupProbe", "readinessProbe")]
    assert ("/ping", 8080) == (serve["readinessProbe"]["httpGet"]["path"], serve["readinessProbe"]["httpGet"]["port"])
    assert 120 == serve["startupProbe"]["failureThreshold"]


def test_own_image_must_be_left_as_it_is() -> None:
    """An image with the model inside needs no fetch, no security context of ours, and scrapes only where it says so."""
    made = applied(plan(model={"container": {"image": "mine:1", "metricsPort": 9000}}), "Deployment")
    assert made is not None
    assert "initContainers" not in made["spec"]["template"]["spec"]
    assert "securityContext" not in container(made, "serve")
    assert "9000" == made["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]


def test_claim_must_be_mounted_read_only() -> None:
    """A model on a volume claim reaches fetch, which can't change it."""
    made = applied(plan(model={"artifact": {"uri": "pvc://models/m.tar.gz"}}), "Deployment")
    mounts = [m for m in container(made, "fetch")["volumeMounts"] if m["name"].startswith("pvc-")]
    assert [("/mnt/sagebrush/pvc/models", True)] == [(m["mountPath"], m["readOnly"]) for m in mounts]


def test_service_must_be_as_asked() -> None:
    """Type, port and node port reach the Service; the URL names the port where it is not 80."""
    made = plan(cluster={"service": {"type": "NodePort", "port": 8000, "nodePort": 30080}})
    service = applied(made, "Service")
    assert service is not None
    assert ("NodePort", [{"name": "http", "port": 8000, "targetPort": 8080, "protocol": "TCP", "nodePort": 30080}]) == (
        service["spec"]["type"],
        service["spec"]["ports"],
    )
    assert "http://kdd.demo.svc.cluster.local:8000/invocations" == status_of(made).url


WAITS = [
    (None, Reason.TRAINING_JOB_NOT_FOUND, "does not exist"),
    (source(None), Reason.WAITING_FOR_TRAINING_JOB, "not started"),
    (source(TrainingPhase.TRAINING), Reason.WAITING_FOR_TRAINING_JOB, "Training"),
    (source(TrainingPhase.FAILED), Reason.TRAINING_JOB_FAILED, "has failed"),
    (source(TrainingPhase.STOPPED), Reason.TRAINING_JOB_FAILED, "has stopped"),
    (source(TrainingPhase.COMPLETED, artifact=False), Reason.NO_MODEL_ARTIFACT, "left no model"),
]


@pytest.mark.parametrize(("job", "reason", "words"), WAITS)
def test_endpoint_must_wait_for_its_job(job: SourceJob | None, reason: Reason, words: str) -> None:
    """Applied together, the endpoint waits and says for what; meanwhile the old model goes on serving, untouched."""
    made = plan(Observed(training_job=job), model=REF)
    assert (("False", str(reason)), ()) == (ready(made), made.actions)
    assert words in message(made)
    serving = plan(Observed(training_job=job, pods=(serving_pod("old"),)), model=REF)
    assert () == serving.actions
    assert "the previous model goes on serving" in message(serving)


def test_endpoint_must_serve_with_the_jobs_own_image() -> None:
    """A job that trained with an image of its own is served with it, unless the endpoint names another."""
    job = source(TrainingPhase.COMPLETED, algorithm={"image": "mine:1"})
    own = applied(plan(Observed(training_job=job), model=REF), "Deployment")
    other = applied(plan(Observed(training_job=job), model={**REF, "container": {"image": "other:1"}}), "Deployment")
    assert ["mine:1", "other:1"] == [container(made, "serve")["image"] for made in (own, other)]
    assert "server:1" == container(own, "fetch")["image"]


LOADING = {"framework": "scikit-learn", "allow": ["Unpickling", "mine.Scaler"]}


def test_loading_must_reach_the_built_in_server() -> None:
    """What the manifest says of framework and trust is a variable of serve, and another revision."""
    artifact = {"artifact": {"uri": ARTIFACT}}
    said, silent = (plan(model={**artifact, **more}) for more in (LOADING, {}))
    values = env(container(applied(said, "Deployment"), "serve"))
    assert ("scikit-learn", "Unpickling,mine.Scaler") == (
        values["SAGEBRUSH_MODEL_FRAMEWORK"],
        values["SAGEBRUSH_MODEL_ALLOW"],
    )
    assert not {name for name in env(container(applied(silent, "Deployment"), "serve")) if "SAGEBRUSH_MODEL_" in name}
    assert status_of(said).revision != status_of(silent).revision


def test_loading_must_be_refused_where_another_image_serves() -> None:
    """A job's own image knows nothing of framework and allow: they are not ignored."""
    job = source(TrainingPhase.COMPLETED, algorithm={"image": "mine:1"})
    made = plan(Observed(training_job=job), model={**REF, **LOADING})
    assert (("False", "InvalidSpec"), ()) == (ready(made), made.actions)
    assert "framework and allow are honoured by the built-in server, and mine:1 is another" in message(made)
    built_in = plan(Observed(training_job=source(TrainingPhase.COMPLETED)), model={**REF, **LOADING})
    assert "SAGEBRUSH_MODEL_ALLOW" in env(container(applied(built_in, "Deployment"), "serve"))


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((), ("False", "Starting")),
        ((serving_pod("R"),), ("True", "Serving")),
        ((serving_pod("R", ready=False),), ("False", "Starting")),
        ((serving_pod("R"), serving_pod("old", name="pod-1")), ("False", "RollingOut")),
        ((serving_pod("old"),), ("False", "RollingOut")),
        ((serving_pod("R"), serving_pod("old", name="pod-1", deleting=True)), ("True", "Serving")),
        ((serving_pod("R", waiting("serve", "ErrImagePull"), ready=False),), ("False", "ImagePullFailed")),
        ((serving_pod("R", crashed("serve", 1, "boom"), ready=False),), ("False", "CrashLoop")),
        ((serving_pod("R", crashed("fetch", 2, "no model"), ready=False),), ("False", "DownloadFailed")),
    ],
)
def test_ready_must_mean_the_desired_revision_serves(pods: tuple[Manifest, ...], expected: tuple[str, str]) -> None:
    """Ready: a pod of the desired revision takes requests, and none of another does."""
    revision = status_of(plan()).revision or ""
    named = json.loads(json.dumps(pods).replace('"R"', json.dumps(revision)))
    assert expected == ready(plan(world(plan(), pods=tuple(named))))


def test_endless_crash_must_stall() -> None:
    """Five restarts and none ready: nothing changes by itself."""
    revision = status_of(plan()).revision or ""
    pods = (serving_pod(revision, crashed("serve", 1, "boom", restarts=5), ready=False),)
    stalled = find(status_of(plan(world(plan(), pods=pods))).conditions, "Stalled")
    assert stalled is not None
    assert ("True", "CrashLoop") == (stalled.status, stalled.reason)
    assert "boom" in stalled.message


def test_refused_pods_must_be_told() -> None:
    """A quota or a policy that lets no pod through stands in the Deployment's conditions, and then in ours."""
    done = plan()
    world_now = world(done)
    assert world_now.deployment is not None
    said = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    refused = replace(world_now, deployment={**world_now.deployment, "status": {"conditions": [said]}})
    made = plan(refused, status=status_of(done))
    assert ("False", "PermissionDenied") == ready(made)
    assert "exceeded quota: pods" in message(made)


def test_no_replicas_must_be_ready_and_said() -> None:
    """replicas: 0 is what was asked for."""
    assert ("True", "ScaledToZero") == ready(plan(replicas=0))


def test_replicas_must_be_the_specs_without_a_policy() -> None:
    """Without a policy spec.replicas counts, also against a Deployment scaled by hand."""
    made = plan(replicas=3)
    observed = world(made)
    assert observed.deployment is not None
    observed.deployment["spec"]["replicas"] = 7
    repaired = applied(plan(observed, status=status_of(made), replicas=3), "Deployment")
    assert repaired is not None
    assert 3 == repaired["spec"]["replicas"]


def load(rate: float | None) -> ScalingFacts:
    """A minute of good data."""
    return ScalingFacts(Signals(reading(rate), reading(rate)))


def test_policy_must_own_the_replicas() -> None:
    """With a policy spec.replicas says nothing; the load does, within the bounds, and an Event tells each change."""
    policy = {"scaling": scaling(2, 4)}
    first = plan(**policy)
    deployment = applied(first, "Deployment")
    assert deployment is not None
    assert 2 == deployment["spec"]["replicas"]
    loaded = plan(world(first, scaling=load(990)), status=status_of(first), **policy)
    scaled = applied(loaded, "Deployment")
    assert scaled is not None
    assert 4 == scaled["spec"]["replicas"]
    assert ["Scaled"] == [event.reason for event in loaded.events if event.reason == "Scaled"]
    assert [(2, 4)] == [(d.from_replicas, d.to_replicas) for d in status_of(loaded).scaling.decisions]


def test_missing_metrics_must_hold_the_replicas() -> None:
    """No data, no change; also where the Deployment was deleted by hand under load."""
    policy = {"scaling": scaling(1, 5)}
    first = plan(**policy)
    loaded = plan(world(first, scaling=load(390)), status=status_of(first), **policy)
    held = plan(world(loaded, world(first)), status=status_of(loaded), now=3600, **policy)
    assert () == held.actions
    active = find(status_of(held).conditions, "ScalingActive")
    assert active is not None
    assert ("False", "MetricsMissing") == (active.status, active.reason)
    again = applied(plan(status=status_of(held), now=3700, **policy), "Deployment")
    assert again is not None
    assert 4 == again["spec"]["replicas"]


def taken_over(**spec: Any) -> tuple[ModelEndpointStatus, Observed]:
    """An endpoint that serves the model of its job: its status, and its world."""
    done = Observed(training_job=source(TrainingPhase.COMPLETED, **spec))
    made = plan(done, model=REF)
    revision = status_of(made).revision
    assert revision is not None
    return status_of(made), world(made, done, pods=(serving_pod(revision),))


@pytest.mark.parametrize("algorithm", [{"name": "linear-learner"}, {"image": "mine:1", "imagePullPolicy": "Always"}])
def test_model_must_outlive_its_job(algorithm: dict[str, Any]) -> None:
    """A job deleted after its model was taken is no loss: the endpoint stays Ready, is repaired, and restarts nothing."""
    status, serving = taken_over(algorithm=algorithm)
    orphan = replace(serving, training_job=None)
    made = plan(orphan, status=status, model=REF)
    assert (("True", "Serving"), ()) == (ready(made), made.actions)
    assert "TrainingJob kdd is gone" in message(made)
    assert status.model == status_of(made).model
    repaired = plan(replace(orphan, deployment=None), status=status, model=REF)
    assert status.revision == applied(repaired, "Deployment")["metadata"]["annotations"]["sagebrush.dev/revision"]  # type: ignore[index]


def test_policy_must_go_on_while_a_new_model_is_trained() -> None:
    """A job that runs anew promises another model: not Ready, and the old one is still scaled."""
    status, serving = taken_over()
    again = replace(serving, training_job=source(TrainingPhase.TRAINING), scaling=load(1000))
    made = plan(again, status=status, model=REF, scaling=scaling(maximum=4))
    assert ("False", "WaitingForTrainingJob") == ready(made)
    assert 4 == applied(made, "Deployment")["spec"]["replicas"]  # type: ignore[index]


def test_model_of_another_job_must_not_pass_for_the_wanted_one() -> None:
    """Pointed at a job that does not exist, the endpoint waits for it, whatever it serves."""
    status, serving = taken_over()
    made = plan(replace(serving, training_job=None), status=status, model={"trainingJobRef": {"name": "other"}})
    assert ("False", "TrainingJobNotFound") == ready(made)


def test_upgrade_must_restart_no_model() -> None:
    """Another version with another default image leaves template and images of a running revision alone."""
    made = plan()
    observed = world(made)
    # What the older version rendered otherwise than this code does.
    container(observed.deployment, "serve")["readinessProbe"]["periodSeconds"] = 7
    newer = plan(observed, status=status_of(made), defaults=NEWER)
    assert ((), "server:1") == (newer.actions, status_of(newer).model.image)
    lost = plan(observed, defaults=NEWER)
    assert () == lost.actions
    changed = applied(plan(observed, status=status_of(made), defaults=NEWER, replicas=2), "Deployment")
    assert observed.deployment is not None
    assert changed is not None
    assert (2, observed.deployment["spec"]["template"]) == (changed["spec"]["replicas"], changed["spec"]["template"])


def test_new_default_image_must_wait_for_the_next_revision() -> None:
    """A setting that changes within one version restarts no model either; the next revision takes it."""
    made = plan()
    image_only = replace(DEFAULTS, server_image="server:9")
    assert () == plan(world(made), status=status_of(made), defaults=image_only).actions
    moved = plan(
        world(made),
        status=status_of(made),
        defaults=image_only,
        model={"artifact": {"uri": ARTIFACT, "sha256": OTHER_SHA}},
    )
    assert "server:9" == container(applied(moved, "Deployment"), "serve")["image"]


def test_unchanged_world_must_need_nothing() -> None:
    """Carried out once, a plan leaves nothing to do; its status survives JSON."""
    for spec in (
        {},
        {"cluster": {"resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}},
        {"model": {"container": {"image": "m"}}},
    ):
        made = plan(**spec)
        again = plan(world(made), status=status_of(made), now=60, **spec)
        assert ((), (), status_of(made)) == (again.actions, again.events, again.status)
        assert status_of(made) == ModelEndpointStatus.model_validate(json.loads(json.dumps(status_of(made).to_dict())))


BASE = {"artifact": {"uri": ARTIFACT, "sha256": SHA}}
REVISIONS = [
    ("sha", {"model": {"artifact": {"uri": ARTIFACT, "sha256": OTHER_SHA}}}, True),
    ("environment", {"model": {**BASE, "environment": [{"name": "A", "value": "1"}]}}, True),
    ("startup timeout", {"model": {**BASE, "startupTimeout": "1m"}}, True),
    ("image", {"model": {**BASE, "container": {"image": "x"}}}, True),
    ("resources", {"cluster": {"resources": {"limits": {"cpu": "1"}}}}, True),
    ("service", {"cluster": {"service": {"type": "NodePort"}}}, False),
    ("replicas", {"replicas": 3}, False),
    ("scaling", {"scaling": scaling()}, False),
    ("a default written out", {"cluster": {"storageSecretName": "sagebrush-storage"}}, False),
]


@pytest.mark.parametrize(("spec", "changes"), [case[1:] for case in REVISIONS], ids=[case[0] for case in REVISIONS])
def test_revision_must_change_with_what_the_replicas_run(spec: dict[str, Any], changes: bool) -> None:
    """What a replica runs is its revision; how it is reached, and how many there are, is not."""
    assert changes == (status_of(plan()).revision != status_of(plan(**spec)).revision)


@pytest.mark.parametrize("edit", ["image", "env", "annotation", "selector"])
def test_hand_edits_must_be_repaired(edit: str) -> None:
    """What somebody changed on Deployment or Service is put back; an image set by hand is not taken for the pinned one."""
    made = plan()
    observed = world(made)
    assert observed.deployment is not None
    assert observed.service is not None
    if edit == "image":
        container(observed.deployment, "serve")["image"] = "evil"
    elif edit == "env":
        container(observed.deployment, "serve")["env"][0]["value"] = "other"
    elif edit == "annotation":
        del observed.deployment["metadata"]["annotations"][render.RENDERED_BY]
    else:
        observed.service["spec"]["selector"] = {"app": "other"}
    repaired = world(plan(observed, status=status_of(made)), observed)
    assert world(made) == repaired


def test_foreign_children_must_not_be_taken_over() -> None:
    """A Deployment or Service that is not ours is a conflict, and stays untouched."""
    for kind in ("deployment", "service"):
        child = {"kind": kind.title(), "metadata": {"name": "kdd", "ownerReferences": []}}
        made = plan(Observed(**{kind: child}))
        assert (("False", "NameConflict"), ()) == (ready(made), made.actions)


def test_serving_must_count_only_the_revision() -> None:
    """readyReplicas are those of the desired revision; the message tells how many are missing, and why."""
    made = plan(replicas=3)
    revision = status_of(made).revision or ""
    pods = (
        serving_pod(revision),
        serving_pod("old", name="pod-1"),
        serving_pod(revision, waiting("serve", "ErrImagePull", "gone"), ready=False, name="pod-2"),
    )
    assert 1 == status_of(plan(world(made, pods=pods), replicas=3)).ready_replicas
    short = plan(world(made, pods=(pods[0], pods[2])), replicas=3)
    assert ("True", "Serving") == ready(short)
    assert "2 more can't start" in message(short)
    assert [] == model_endpoint.ready_pods(Observed(pods=(serving_pod(revision, running("serve"), ready=False),)), None)
