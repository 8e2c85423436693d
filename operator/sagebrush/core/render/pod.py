"""What training and serving pods have in common: volumes, storage access, placement, security."""

from collections.abc import Iterable, Mapping
from typing import Any

from sagebrush.api.meta import EnvVar, PodSettings
from sagebrush.core.resource import Manifest

PVC_ROOT = "/mnt/sagebrush/pvc"
NON_ROOT_USER = 65532


def literal(text: str) -> str:
    """*text* so that Kubernetes' ``$(NAME)`` expansion leaves it alone."""
    return text.replace("$(", "$$(")


def environment(values: Mapping[str, str], user: Iterable[EnvVar] = ()) -> list[Manifest]:
    """Literal environment variables, the user's last and winning."""
    merged = {**values, **{variable.name: variable.value for variable in user}}
    return [{"name": name, "value": literal(value)} for name, value in merged.items()]


def storage_environment(settings: PodSettings) -> list[Manifest]:
    """The Secret with the storage's address and credentials, which need not exist."""
    return [{"secretRef": {"name": settings.storage_secret_name, "optional": True}}]


def claims(uris: Iterable[str]) -> list[str]:
    """Names of the volume claims that pvc:// URIs name, each once, sorted."""
    return sorted({uri.removeprefix("pvc://").split("/", 1)[0] for uri in uris if uri.startswith("pvc://")})


def claim_volumes(names: Iterable[str], *, read_only: bool) -> tuple[list[Manifest], list[Manifest]]:
    """Volumes and mounts for claims, each at ``/mnt/sagebrush/pvc/<claim>``."""
    volumes = [
        {"name": f"pvc-{index}", "persistentVolumeClaim": {"claimName": name}} for index, name in enumerate(names)
    ]
    mounts: list[Manifest] = []
    for index, name in enumerate(names):
        mount: Manifest = {"name": f"pvc-{index}", "mountPath": f"{PVC_ROOT}/{name}"}
        if read_only:
            mount["readOnly"] = True
        mounts.append(mount)
    return volumes, mounts


def restricted() -> Manifest:
    """Security context of containers that run our own code."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": NON_ROOT_USER,
    }


def reader_of_anything() -> Manifest:
    """Security context of our containers beside a user's image, which may run as root and write files only root can read."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["DAC_OVERRIDE", "FOWNER"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
    }


def placement(settings: PodSettings) -> Manifest:
    """Fields of a pod spec that say where and as whom it runs."""
    out: dict[str, Any] = {
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
    }
    if settings.node_selector:
        out["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        out["tolerations"] = [toleration.to_dict() for toleration in settings.tolerations]
    if settings.service_account_name:
        # A cloud identity comes as a projected token of its own; the API token stays out.
        out["serviceAccountName"] = settings.service_account_name
    if settings.image_pull_secrets:
        out["imagePullSecrets"] = [reference.to_dict() for reference in settings.image_pull_secrets]
    return out


def resources(settings: PodSettings) -> Manifest:
    """Requests and limits of the main container."""
    if settings.resources is None:
        return {}
    return {key: value for key, value in settings.resources.to_dict().items() if value}
