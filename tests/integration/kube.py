"""The API server as tests use it: plain JSON, verbs, and bounded waits on conditions."""

import base64
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml

Manifest = dict[str, Any]
T = TypeVar("T")

WAIT_SECONDS = 90.0
"""Bound of a wait: generous, since it costs nothing while all goes well, and a busy machine needs it."""
POLL_SECONDS = 0.05
TOO_MANY_REQUESTS = 429
"""Also of a kind whose CRD has just been made: "storage is (re)initializing"."""

PLURALS = {
    "TrainingJob": ("/apis/sagebrush.dev/v1alpha1", "trainingjobs"),
    "ModelEndpoint": ("/apis/sagebrush.dev/v1alpha1", "modelendpoints"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "Service": ("/api/v1", "services"),
    "Pod": ("/api/v1", "pods"),
    "Node": ("/api/v1", "nodes"),
    "Event": ("/apis/events.k8s.io/v1", "events"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Namespace": ("/api/v1", "namespaces"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}


class RefusedError(AssertionError):
    """The API server refused; *status* is the HTTP status, the text its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Kube:
    """One user's connection to the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        folder = Path(tempfile.mkdtemp(prefix="kube-", dir=kubeconfig.parent))
        files = {}
        for name, text in (
            ("ca", cluster["certificate-authority-data"]),
            ("cert", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            files[name] = folder / f"{name}.pem"
            files[name].write_bytes(base64.b64decode(text))
        self._server = cluster["server"]
        self._pool = urllib3.PoolManager(
            ca_certs=str(files["ca"]), cert_file=str(files["cert"]), key_file=str(files["key"]), retries=False
        )

    def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: str
    ) -> Manifest:
        """One request, again while the API server has no time for it; raises RefusedError with its sentence."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self._pool.request(
                method,
                self._server + path + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""),
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": content_type, "Accept": "application/json"},
                timeout=WAIT_SECONDS,
            )
            if answer.status != TOO_MANY_REQUESTS or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        document: Manifest = json.loads(answer.data or b"{}")
        if answer.status >= 300:
            raise RefusedError(answer.status, document.get("message", ""))
        return document

    @contextmanager
    def lines(self, path: str) -> Iterator[Iterator[bytes]]:
        """The lines of an answer as they come, such as a watch's; OSError where it does not begin, or breaks off."""
        try:
            answer = self._pool.request("GET", self._server + path, preload_content=False, timeout=WAIT_SECONDS)
            try:
                yield _lines(answer)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from error

    def create(self, manifest: Manifest, **query: str) -> Manifest:
        """Create, unknown fields refused, as kubectl does."""
        namespace = manifest["metadata"].get("namespace")
        return self.call("POST", _path(manifest["kind"], namespace), manifest, fieldValidation="Strict", **query)

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as the user `tester`, unknown fields refused."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": "tester", "force": "true", "fieldValidation": "Strict"}
        return self.call("PATCH", path, manifest, content_type="application/apply-patch+yaml", **query)

    def patch(self, kind: str, namespace: str | None, name: str, body: Manifest, *, subresource: str = "") -> Manifest:
        """Merge a patch in, as another field manager than the operator."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.call(
            "PATCH",
            path,
            body,
            content_type="application/merge-patch+json",
            fieldManager="tester",
            fieldValidation="Strict",
        )

    def get(self, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """The object, or None."""
        try:
            return self.call("GET", _path(kind, namespace, name))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def find_all(self, kind: str, namespace: str | None, labels: str = "") -> list[Manifest]:
        """All objects of a namespace."""
        query = {"labelSelector": labels} if labels else {}
        items: list[Manifest] = self.call("GET", _path(kind, namespace), **query)["items"]
        return items

    def delete(self, kind: str, namespace: str | None, name: str | None) -> None:
        """Delete with its dependants, in the background; fine where there is none. Without a name all of the namespace."""
        try:
            self.call("DELETE", _path(kind, namespace, name), {"propagationPolicy": "Background"})
        except RefusedError as error:
            if error.status != 404:
                raise

    def wait(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        until: Callable[[Manifest], Any] = bool,
        *,
        seconds: float = WAIT_SECONDS,
    ) -> Manifest:
        """
        The object once it is there and *until* is true of it.

        Of an object that lacks a field that *until* looks at, it is not true yet: a status comes after its object, and field
        by field.
        """
        lacking = ""

        def look() -> Manifest | None:
            nonlocal lacking
            body = self.get(kind, namespace, name)
            try:
                lacking = ""
                return body if body and until(body) else None
            except KeyError as error:
                lacking = f", which lacks {error}"
                return None

        return wait_for(
            look,
            f"{kind} {name}",
            seconds=seconds,
            otherwise=lambda: f"{summary(self.get(kind, namespace, name))}{lacking}",
        )

    def wait_ready(
        self, kind: str, namespace: str, name: str, reason: str, *, seconds: float = WAIT_SECONDS
    ) -> Manifest:
        """The object once its Ready condition has this reason for its present generation."""

        def told(body: Manifest) -> bool:
            ready = condition(body, "Ready")
            return (ready["reason"], ready["observedGeneration"]) == (reason, body["metadata"]["generation"])

        return self.wait(kind, namespace, name, told, seconds=seconds)

    def wait_gone(self, kind: str, namespace: str | None, name: str) -> None:
        """Return once there is no such object; the garbage collector looks for new kinds only every 30 s."""
        wait_for(
            lambda: self.get(kind, namespace, name) is None,
            f"the end of {kind} {name}",
            otherwise=lambda: str(self.get(kind, namespace, name)),
        )

    def wait_pods(self, namespace: str, labels: str, count: int, *, revision: str | None = None) -> list[Manifest]:
        """The pods that the real controllers made, once there are this many that stay."""
        if revision:
            labels += f",sagebrush.dev/revision={revision}"

        def look() -> tuple[list[Manifest]] | None:
            found = [
                pod for pod in self.find_all("Pod", namespace, labels) if "deletionTimestamp" not in pod["metadata"]
            ]
            return (found,) if len(found) == count else None

        return wait_for(
            look,
            f"{count} pods of {labels}",
            otherwise=lambda: str([pod["metadata"] for pod in self.find_all("Pod", namespace, labels)]),
        )[0]

    def events(self, namespace: str, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and note of the operator's events on the object."""
        every = self.find_all("Event", namespace)
        found = [event for event in every if event.get("reportingController") == "sagebrush.dev/operator"]
        return [(e["type"], e["reason"], e.get("note", "")) for e in found if e["regarding"].get("name") == name]


def wait_for(
    look: Callable[[], T | None],
    what: str,
    *,
    seconds: float = WAIT_SECONDS,
    otherwise: Callable[[], str] | None = None,
) -> T:
    """What *look* returns once it is true; fails after *seconds*, saying what *otherwise*, or else *look*, shows."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            seen = otherwise() if otherwise else repr(found)
            raise AssertionError(f"{what}: not within {seconds:g} s; last seen: {seen}")
        time.sleep(POLL_SECONDS)


def condition(body: Manifest | None, kind: str) -> Manifest:
    """The condition of this type, or an empty one."""
    conditions = ((body or {}).get("status") or {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for part in answer.stream(decode_content=True):
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
    yield rest


def summary(body: Manifest | None) -> Any:
    """What to show of an object that does not become what it should."""
    return None if body is None else {"generation": body["metadata"].get("generation"), "status": body.get("status")}


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    base, plural = PLURALS[kind]
    return "/".join([base, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])])
