"""Plays the kubelet: writes what a node would report into the status of pods that the real controllers made."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.kube import Kube, Manifest

SHA256 = "ab" * 32
LATER = timedelta(seconds=7)


def at(moment: datetime) -> str:
    """A Kubernetes timestamp."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(name: str, reason: str = "PodInitializing", message: str = "") -> Manifest:
    """A container that has not started."""
    return _container(name, {"waiting": {"reason": reason, **({"message": message} if message else {})}})


def running(name: str, since: datetime | None = None, *, ready: bool = True) -> Manifest:
    """A container that runs."""
    return _container(name, {"running": {"startedAt": at(since or datetime.now(UTC))}}, ready=ready)


def ended(
    name: str, exit_code: int = 0, *, message: str = "", reason: str = "", since: datetime | None = None
) -> Manifest:
    """A container that has ended."""
    since = since or datetime.now(UTC) - LATER
    state: Manifest = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": at(since),
        "finishedAt": at(since + LATER),
    }
    return _container(name, {"terminated": state | ({"message": message} if message else {})})


def _container(name: str, state: Manifest, *, ready: bool = False) -> Manifest:
    return {"name": name, "state": state, "ready": ready, "restartCount": 0, "image": "x", "imageID": ""}


def uploaded(uri: str = "s3://bucket/output/job/output/model.tar.gz") -> str:
    """What the agent leaves after an upload that went well (docs/contract.md)."""
    return json.dumps({"artifact": {"uri": uri, "sha256": SHA256, "sizeBytes": 1234}, "uploadSeconds": 0.4})


class Kubelet:
    """Reports for any pod of a namespace."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace

    def report(
        self,
        pod: Manifest,
        phase: str,
        *,
        init: list[Manifest] | None = None,
        main: list[Manifest] | None = None,
        **more: Any,
    ) -> None:
        """Write a pod's phase and containers."""
        status: Manifest = {"phase": phase, **more}
        if init is not None:
            status["initContainerStatuses"] = init
        if main is not None:
            status["containerStatuses"] = main
        self._kube.patch("Pod", self._namespace, pod["metadata"]["name"], {"status": status}, subresource="status")

    def downloading(self, pod: Manifest) -> None:
        """The channels are fetched."""
        init = [running("fetch", ready=False), waiting("agent")]
        self.report(pod, "Pending", init=init, main=[waiting("train")])

    def training(self, pod: Manifest) -> None:
        """The algorithm runs."""
        self.report(pod, "Running", init=[ended("fetch"), running("agent")], main=[running("train")])

    def trained(self, pod: Manifest) -> None:
        """The algorithm has ended well, and the agent uploads."""
        self.report(pod, "Running", init=[ended("fetch"), running("agent")], main=[ended("train")])

    def completed(self, pod: Manifest, *, message: str | None = None) -> None:
        """All containers have ended well; the agent says what it did."""
        agent = ended("agent", message=uploaded() if message is None else message)
        self.report(pod, "Succeeded", init=[ended("fetch"), agent], main=[ended("train")])

    def failed(self, pod: Manifest, train: Manifest, *, agent: str = '{"artifact": null}', **more: Any) -> None:
        """The algorithm has failed."""
        self.report(pod, "Failed", init=[ended("fetch"), ended("agent", message=agent)], main=[train], **more)

    def serving(self, pod: Manifest, *, since: datetime | None = None) -> None:
        """The model server answers /ping, as it has done since then (default: since now)."""
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": at(since or datetime.now(UTC))}
            for kind in ("Initialized", "ContainersReady", "Ready")
        ]
        inits = [ended(c["name"]) for c in pod["spec"].get("initContainers", [])]
        self.report(pod, "Running", init=inits, main=[running("serve")], conditions=conditions)
