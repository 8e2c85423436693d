"""ModelEndpoint to Deployment and Service: SageMaker's hosting contract in pods (docs/contract.md)."""

import json
from dataclasses import dataclass
from typing import Any

from sagebrush.api.meta import parse_duration
from sagebrush.api.model_endpoint import EndpointPodSettings, ModelEndpointSpec
from sagebrush.core import naming
from sagebrush.core.model_source import loading_environment
from sagebrush.core.render import pod
from sagebrush.core.resource import Manifest, Meta

KIND = "ModelEndpoint"
VARIANT = "AllTraffic"
PORT = 8080
METRICS_PORT = 9102
STOP_GRACE_SECONDS = 30  # SageMaker: SIGTERM, then 30 s
UNROUTE_SECONDS = 5  # for the Service to stop sending, before SIGTERM
RENDERED_BY = "sagebrush.dev/rendered-by"


@dataclass(frozen=True, slots=True)
class Serving:
    """What a revision runs, resolved: which model, which images."""

    uri: str | None
    sha256: str | None
    image: str
    built_in: bool
    fetch_image: str | None
    pull_policy: str
    fetch_pull_policy: str
    metrics_port: int | None


def revision_of(spec: ModelEndpointSpec, *, uri: str | None, sha256: str | None, image: str | None) -> str:
    """
    Content hash of what the user and the training job say about the replicas. *image* is None for the built-in server,
    so that a new default image (an upgrade of the operator) is not a new revision; nor is a new optional field.
    """
    settings = spec.cluster or EndpointPodSettings()
    return naming.content_hash(
        {
            "uri": uri,
            "sha256": sha256,
            "image": image,
            "model": spec.model.model_dump(
                mode="json", exclude_defaults=True, exclude={"training_job_ref", "artifact"}
            ),
            "pods": settings.model_dump(mode="json", exclude_defaults=True, exclude={"service"}),
        }
    )


def render(
    meta: Meta,
    spec: ModelEndpointSpec,
    serving: Serving,
    *,
    revision: str,
    replicas: int,
    rendered_by: str,
    keep_template: Manifest | None,
) -> Manifest:
    """The Deployment. *keep_template*, where given, is the running one of this very revision, left as it is."""
    annotations = {naming.REVISION: revision, RENDERED_BY: rendered_by}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": naming.child_metadata(KIND, meta, name=meta.name, annotations=annotations),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": int(parse_duration(spec.model.startup_timeout).total_seconds()) + 120,
            "selector": {"matchLabels": naming.selector(KIND, meta.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": keep_template or _template(meta, spec, serving, revision=revision),
        },
    }


def _template(meta: Meta, spec: ModelEndpointSpec, serving: Serving, *, revision: str) -> Manifest:
    settings = spec.cluster or EndpointPodSettings()
    claims = pod.claims([serving.uri or ""])
    metadata: Manifest = {"labels": {**naming.labels(KIND, meta.name), naming.REVISION: revision}}
    if serving.metrics_port:
        metadata["annotations"] = {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(serving.metrics_port),
            "prometheus.io/path": "/metrics",
        }
    spec_out: Manifest = {
        **pod.placement(settings, claims=bool(claims)),
        "terminationGracePeriodSeconds": UNROUTE_SECONDS + STOP_GRACE_SECONDS,
        "containers": [_serve_container(meta, spec, serving, settings)],
        "volumes": [{"name": "model", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *pod.claim_volumes(claims)],
    }
    if serving.uri:
        spec_out["initContainers"] = [_fetch_container(serving, settings, pod.claim_mounts(claims, read_only=True))]
    return {"metadata": metadata, "spec": spec_out}


def _fetch_container(serving: Serving, settings: EndpointPodSettings, mounts: list[Manifest]) -> Manifest:
    model: dict[str, Any] = {"uri": serving.uri}
    if serving.sha256:
        model["sha256"] = serving.sha256
    return {
        "name": "fetch",
        "image": serving.fetch_image,
        "imagePullPolicy": serving.fetch_pull_policy,
        "command": ["sagebrush-server", "fetch-model"],
        "env": pod.environment({"SAGEBRUSH_MODEL": json.dumps(model, sort_keys=True)}),
        "envFrom": pod.storage_environment(settings),
        "volumeMounts": [
            {"name": "model", "mountPath": "/opt/ml/model"},
            {"name": "tmp", "mountPath": "/tmp"},
            *mounts,
        ],
        "securityContext": pod.restricted(),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _serve_container(meta: Meta, spec: ModelEndpointSpec, serving: Serving, settings: EndpointPodSettings) -> Manifest:
    values = {
        "SAGEBRUSH_ENDPOINT_NAME": meta.name,
        "SAGEBRUSH_VARIANT_NAME": VARIANT,
        "SAGEMAKER_BIND_TO_PORT": str(PORT),
    }
    if serving.sha256:
        values["SAGEBRUSH_MODEL_SHA256"] = serving.sha256
    if serving.built_in:
        values["SAGEBRUSH_METRICS_PORT"] = str(METRICS_PORT)
        values |= _processes(spec, settings)
        values |= loading_environment(spec.model)
    ports = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    if serving.metrics_port:
        ports.append({"name": "metrics", "containerPort": serving.metrics_port, "protocol": "TCP"})
    container: Manifest = {
        "name": "serve",
        "image": serving.image,
        "imagePullPolicy": serving.pull_policy,
        "args": ["serve"],
        "env": pod.environment(values, spec.model.environment),
        "ports": ports,
        "volumeMounts": [],
        "resources": pod.resources(settings),
        "lifecycle": {"preStop": {"sleep": {"seconds": UNROUTE_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(int(parse_duration(spec.model.startup_timeout).total_seconds())),
    }
    if serving.uri:
        container["volumeMounts"].append({"name": "model", "mountPath": "/opt/ml/model", "readOnly": True})
    if serving.built_in:
        container["securityContext"] = pod.restricted()
        container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    return container


def _processes(spec: ModelEndpointSpec, settings: EndpointPodSettings) -> dict[str, str]:
    """A process for each CPU of the pod; with several models it is one, by the server's own rule."""
    if any(variable.name == "SAGEMAKER_MULTI_MODEL" for variable in spec.model.environment):
        return {}
    return {"SAGEMAKER_MODEL_SERVER_WORKERS": str(pod.whole_cpus(settings))}


def _probes(startup_seconds: int) -> Manifest:
    """Every second, so that a pod counts soon after it can serve; 2 s to answer, as SageMaker allows."""
    ping = {"httpGet": {"path": "/ping", "port": PORT, "scheme": "HTTP"}, "timeoutSeconds": 2, "successThreshold": 1}
    return {
        "startupProbe": {**ping, "periodSeconds": 1, "failureThreshold": max(1, startup_seconds)},
        "readinessProbe": {**ping, "periodSeconds": 1, "failureThreshold": 3},
        "livenessProbe": {**ping, "periodSeconds": 10, "failureThreshold": 6},
    }


def render_service(meta: Meta, spec: ModelEndpointSpec) -> Manifest:
    """The Service in front of the replicas."""
    service = (spec.cluster or EndpointPodSettings()).service
    port: Manifest = {"name": "http", "port": service.port, "targetPort": PORT, "protocol": "TCP"}
    if service.type == "NodePort" and service.node_port:
        port["nodePort"] = service.node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": naming.child_metadata(KIND, meta, name=meta.name),
        "spec": {"type": service.type, "selector": naming.selector(KIND, meta.name), "ports": [port]},
    }
