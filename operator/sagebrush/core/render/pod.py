"""What training and serving pods have in common: volumes, storage access, placement, security."""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from sagebrush.api.meta import EnvVar, PodSettings
from sagebrush.core.naming import content_hash
from sagebrush.core.resource import Manifest

PVC_ROOT = "/mnt/sagebrush/pvc"
NON_ROOT_USER = 65532
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")


def literal(text: str) -> str:
    """*text* so that Kubernetes' expansion of ``$(NAME)``, which also reads ``$$`` as one ``$``, gives it back."""
    return text.replace("$", "$$")


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


def _volume(claim: str) -> str:
    """A claim's name may be longer than a volume's, and have dots."""
    return f"pvc-{content_hash(claim)}"


def claim_volumes(names: Iterable[str]) -> list[Manifest]:
    """A volume for each claim."""
    return [{"name": _volume(name), "persistentVolumeClaim": {"claimName": name}} for name in names]


def claim_mounts(names: Iterable[str], *, read_only: bool) -> list[Manifest]:
    """Mounts of claims' volumes, each at ``/mnt/sagebrush/pvc/<claim>``."""
    mode = {"readOnly": True} if read_only else {}
    return [{"name": _volume(name), "mountPath": f"{PVC_ROOT}/{name}", **mode} for name in names]


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


def placement(settings: PodSettings, *, claims: bool) -> Manifest:
    """Fields of a pod spec that say where and as whom it runs; *claims*: it mounts volume claims."""
    security: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
    if claims:  # a fresh block volume belongs to root, and our containers do not run as root
        security |= {"fsGroup": NON_ROOT_USER, "fsGroupChangePolicy": "OnRootMismatch"}
    out: dict[str, Any] = {
        "securityContext": security,
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
    return {
        kind: {name: canonical_quantity(amount) for name, amount in amounts.items()}
        for kind, amounts in settings.resources.to_dict().items()
        if amounts
    }


def whole_cpus(settings: PodSettings) -> int:
    """
    CPUs that the main container can keep busy, rounded down and at least 1: its limit, or else what it has requested.
    One where neither is given: what a node has beyond that is not this pod's.
    """
    amounts = settings.resources
    text = (amounts.limits.get("cpu") or amounts.requests.get("cpu") if amounts else None) or "1"
    return max(1, int(_amount(text) or 1))


def canonical_quantity(text: str) -> str:
    """
    *text* as the API server writes it back: ``0.5`` is ``500m``, ``1024Mi`` is ``1Gi``.

    So what is stored is what was rendered. Source: "canonical form" in
    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    amount = _amount(text)
    if amount is None:
        return text
    if text.endswith(_BINARY[1:]) and amount >= 1024:
        return _scaled(ceil(amount), _BINARY, step=1024)
    return _scaled(ceil(amount * 1000**3), _DECIMAL, step=1000)


def _amount(text: str) -> Fraction | None:
    """What a quantity says, in whole units (bytes, CPUs); None where it is no plain quantity."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", text)
    if match is None:
        return None
    number, suffix = Fraction(match[1]), match[2]
    if suffix in _BINARY[1:]:
        return number * 1024 ** _BINARY.index(suffix)
    return number * Fraction(1000) ** (_DECIMAL.index(suffix) - _DECIMAL.index(""))


def _scaled(count: int, suffixes: tuple[str, ...], *, step: int) -> str:
    """*count* of the smallest unit with the largest suffix that leaves it whole."""
    if count == 0:
        return "0"
    index = 0
    while count % step == 0 and index + 1 < len(suffixes):
        count, index = count // step, index + 1
    return f"{count}{suffixes[index]}"
