"""TrainingJob to Job, headless Service and EndpointSlice: SageMaker's training contract in pods (docs/contract.md)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from sagebrush.api.meta import PodSettings, parse_duration
from sagebrush.api.training_inputs import Channel
from sagebrush.api.training_job import TrainingJobSpec
from sagebrush.core import naming
from sagebrush.core.render import pod
from sagebrush.core.resource import Manifest, Meta

KIND = "TrainingJob"
ML = "/opt/ml"
STOP_GRACE_SECONDS = 120  # SageMaker: SIGTERM, then 120 s
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"

_RESERVED = re.compile(r"^(sagemaker_.*|_tuning_objective_metric)$")
_ENV_SUFFIX = re.compile(r"[-._a-zA-Z0-9]+")


def hosts(spec: TrainingJobSpec) -> list[str]:
    """Names of the training hosts."""
    return [naming.host_name(index) for index in range(spec.instance_count)]


def training_plan(meta: Meta, spec: TrainingJobSpec) -> dict[str, Any]:
    """The document that fetch and agent read (docs/contract.md)."""
    plan: dict[str, Any] = {
        "jobName": meta.name,
        "hyperParameters": dict(spec.hyper_parameters),
        "channels": [
            channel.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"data_type"})
            for channel in spec.channels
        ],
        "hosts": hosts(spec),
        "output": {
            "uri": spec.output.uri,
            "uploadTimeoutSeconds": int(parse_duration(spec.output.upload_timeout).total_seconds()),
        },
    }
    if spec.algorithm.name is not None:
        plan["algorithm"] = spec.algorithm.name.value
    return plan


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def sm_environment(meta: Meta, spec: TrainingJobSpec) -> dict[str, str]:
    """The ``SM_*`` variables that SageMaker's training toolkit would set (sagemaker-training, environment)."""
    decoded = {key: _decoded(value) for key, value in spec.hyper_parameters.items() if not _RESERVED.match(key)}
    names = sorted(channel.name for channel in spec.channels)
    values = {
        "TRAINING_JOB_NAME": meta.name,
        "TRAINING_JOB_ARN": f"arn:sagebrush:cluster::{meta.namespace}:training-job/{meta.name}",
        "SM_HOSTS": _compact(hosts(spec)),
        "SM_NETWORK_INTERFACE_NAME": "eth0",
        "SM_CURRENT_INSTANCE_TYPE": "cluster",
        "SM_HPS": _compact(decoded),
        "SM_USER_ARGS": _compact([part for key in sorted(decoded) for part in (f"--{key}", _plain(decoded[key]))]),
        "SM_CHANNELS": _compact(names),
        "SM_MODEL_DIR": f"{ML}/model",
        "SM_OUTPUT_DIR": f"{ML}/output",
        "SM_OUTPUT_DATA_DIR": f"{ML}/output/data",
        "SM_INPUT_DIR": f"{ML}/input",
        "SM_INPUT_CONFIG_DIR": f"{ML}/input/config",
        "SM_OUTPUT_INTERMEDIATE_DIR": f"{ML}/output/intermediate",
        "SM_INPUT_DATA_CONFIG": _compact({channel.name: _channel_config(channel) for channel in spec.channels}),
        "SM_CURRENT_INSTANCE_GROUP": "homogeneousCluster",
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": _compact(hosts(spec)),
        "SM_INSTANCE_GROUPS": _compact(["homogeneousCluster"]),
        "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]",
        "SM_IS_HETERO": "false",
        "SM_NUM_NEURONS": "0",
        "SM_LOG_LEVEL": "20",
        "SM_NUM_GPUS": _gpus(spec.cluster or PodSettings()),
    }
    values |= {f"SM_CHANNEL_{name.upper()}": f"{ML}/input/data/{name}" for name in names if _ENV_SUFFIX.fullmatch(name)}
    values |= {
        f"SM_HP_{key.upper()}": _plain(value) for key, value in sorted(decoded.items()) if _ENV_SUFFIX.fullmatch(key)
    }
    if spec.algorithm.name is not None:
        values["SAGEBRUSH_ALGORITHM"] = spec.algorithm.name.value
    return values


def _channel_config(channel: Channel) -> dict[str, str]:
    """One entry of SageMaker's inputdataconfig.json."""
    config = {
        "TrainingInputMode": channel.input_mode,
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.record_wrapper,
    }
    return config | ({"ContentType": channel.content_type} if channel.content_type else {})


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _compact(value)


def _gpus(settings: PodSettings) -> str:
    limits = settings.resources.limits if settings.resources else {}
    return next((amount for name, amount in limits.items() if name.endswith("/gpu")), "0")


def render(meta: Meta, spec: TrainingJobSpec, *, agent_image: str, pull_policy: str, cluster_domain: str) -> Manifest:
    """The Job. *agent_image* fetches and uploads, and trains too where the algorithm is built in."""
    several = spec.instance_count > 1
    name = naming.job_name(meta.name)
    template: Manifest = {
        "metadata": {"labels": naming.labels(KIND, meta.name)},
        "spec": _pod_spec(meta, spec, agent_image=agent_image, pull_policy=pull_policy),
    }
    if several:
        template["spec"]["dnsConfig"] = {
            "searches": [f"{naming.hosts_name(meta.name)}.{meta.namespace}.svc.{cluster_domain}"]
        }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": naming.child_metadata(KIND, meta, name=name),
        "spec": {
            "backoffLimit": 0,
            "completionMode": "Indexed" if several else "NonIndexed",
            "completions": spec.instance_count,
            "parallelism": spec.instance_count,
            "podReplacementPolicy": "Failed",
            "suspend": spec.suspend,
            # What the cluster interrupts (eviction, preemption, node loss) starts over; what fails by itself has failed.
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": template,
        },
    }


def _pod_spec(meta: Meta, spec: TrainingJobSpec, *, agent_image: str, pull_policy: str) -> Manifest:
    settings = spec.cluster or PodSettings()
    read, written = pod.claims(channel.uri for channel in spec.channels), pod.claims([spec.output.uri])
    claims = sorted({*read, *written})
    folders: list[Manifest] = [{"name": "ml", "mountPath": ML}, {"name": "tmp", "mountPath": "/tmp"}]
    plan = {"SAGEBRUSH_TRAINING_PLAN": _compact(training_plan(meta, spec))}
    ours: Manifest = {
        "image": agent_image,
        "imagePullPolicy": pull_policy,
        "env": pod.environment(plan),
        "envFrom": pod.storage_environment(settings),
        "securityContext": pod.restricted() if spec.algorithm.name else pod.reader_of_anything(),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        **pod.placement(settings, claims=bool(claims)),
        "restartPolicy": "Never",
        "activeDeadlineSeconds": max(1, int(parse_duration(spec.max_runtime).total_seconds())),
        "terminationGracePeriodSeconds": STOP_GRACE_SECONDS
        + int(parse_duration(spec.output.upload_timeout).total_seconds()),
        "initContainers": [
            {
                **ours,
                "name": "fetch",
                "command": ["sagebrush-server", "fetch-channels"],
                "volumeMounts": [*folders, *pod.claim_mounts(read, read_only=True)],
            },
            {
                **ours,
                "name": "agent",
                "command": ["sagebrush-server", "upload-artifacts"],
                "restartPolicy": "Always",
                "volumeMounts": [*folders, *pod.claim_mounts(written, read_only=False)],
            },
        ],
        "containers": [_train_container(meta, spec, agent_image=agent_image, pull_policy=pull_policy)],
        "volumes": [{"name": "ml", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *pod.claim_volumes(claims)],
    }


def _train_container(meta: Meta, spec: TrainingJobSpec, *, agent_image: str, pull_policy: str) -> Manifest:
    settings = spec.cluster or PodSettings()
    algorithm = spec.algorithm
    env = pod.environment(sm_environment(meta, spec), spec.environment)
    chosen = {variable["name"] for variable in env}
    if "SM_NUM_CPUS" not in chosen:
        env.append(
            {"name": "SM_NUM_CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}}
        )
    if "SM_CURRENT_HOST" not in chosen:
        env.append(_current_host(spec))
    container: Manifest = {
        "name": "train",
        "image": algorithm.image or agent_image,
        "imagePullPolicy": algorithm.image_pull_policy if algorithm.image else pull_policy,
        "args": [pod.literal(argument) for argument in algorithm.arguments or ["train"]],
        "env": env,
        "volumeMounts": [
            {"name": "ml", "mountPath": f"{ML}/{folder}", "subPath": folder} for folder in ("input", "model", "output")
        ],
        "terminationMessagePath": f"{ML}/output/failure",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": pod.resources(settings),
    }
    if algorithm.entrypoint:
        container["command"] = [pod.literal(part) for part in algorithm.entrypoint]
    if algorithm.name:
        container["securityContext"] = pod.restricted()
        container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    return container


def _current_host(spec: TrainingJobSpec) -> Manifest:
    if spec.instance_count == 1:
        return {"name": "SM_CURRENT_HOST", "value": naming.host_name(0)}
    # One template serves all pods of an Indexed Job, so the name comes from a file that fetch wrote (Kubernetes ≥ 1.35).
    key = {"volumeName": "ml", "path": "env/host.env", "key": "SM_CURRENT_HOST"}
    return {"name": "SM_CURRENT_HOST", "valueFrom": {"fileKeyRef": key}}


def render_service(meta: Meta) -> Manifest:
    """Headless Service without selector: its EndpointSlice names the pods algo-1 … algo-n."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": naming.child_metadata(KIND, meta, name=naming.hosts_name(meta.name)),
        "spec": {"clusterIP": "None", "ports": [{"name": "any", "port": 1, "protocol": "TCP"}]},
    }


def render_endpoint_slice(meta: Meta, addresses: Mapping[int, str], *, existing: Manifest | None = None) -> Manifest:
    """The DNS names of the hosts whose pods have an address, by index. An *existing* slice's address type can't change."""
    name = naming.hosts_name(meta.name)
    metadata = naming.child_metadata(KIND, meta, name=name)
    metadata["labels"]["kubernetes.io/service-name"] = name
    metadata["labels"]["endpointslice.kubernetes.io/managed-by"] = "sagebrush.dev"
    address_type = "IPv6" if any(":" in address for address in addresses.values()) else "IPv4"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": existing["addressType"] if existing else address_type,
        "endpoints": [
            {"addresses": [address], "hostname": naming.host_name(index), "conditions": {"ready": True}}
            for index, address in sorted(addresses.items())
        ],
        "ports": [{"name": "any", "port": 1, "protocol": "TCP"}],
    }
