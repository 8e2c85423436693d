"""Nodes on which pods become Ready and nothing runs: kwok, and the scheduler that gives it the pods."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devcluster import binaries
from devcluster.components import scheduler_command
from devcluster.controlplane import ControlPlane

NODES = 10
_PODS_PER_NODE = 2000
_AT_ONCE = 16
_FASTER = ("--kube-api-qps=300", "--kube-api-burst=600")
"""The controllers' own brakes (20 and 50 requests a second) would make thousands of pods take half an hour."""
CONTROLLER_FLAGS = (
    *_FASTER,
    f"--concurrent-deployment-syncs={_AT_ONCE}",
    f"--concurrent-replicaset-syncs={_AT_ONCE}",
    f"--concurrent-service-endpoint-syncs={_AT_ONCE}",
)

_NODE_READY = """\
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
{{ end }}
phase: Running
"""

_POD_SERVES = """\
{{ $now := Now }}
phase: Running
startTime: {{ or .metadata.creationTimestamp $now | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state:
    terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state:
    running: {startedAt: {{ $now | Quote }}}
{{ end }}
"""


def start(plane: ControlPlane, *, folder: Path, startup_seconds: float) -> None:
    """Start scheduler and kwok beside a control plane, which ends them, and make the nodes; pods are Ready so long after."""
    programs = binaries.ensure(["kube-scheduler", "kwok"])
    scheduler = scheduler_command(programs["kube-scheduler"], credentials=plane.credentials)
    plane.run_beside("kube-scheduler", [*scheduler, *_FASTER])
    stages = folder / "kwok.json"
    # JSON is YAML too, and kwok reads one document after the other.
    stages.write_text("\n---\n".join(json.dumps(each) for each in kwok_stages(startup_seconds)))
    command = [str(programs["kwok"]), f"--kubeconfig={plane.kubeconfig}", f"--config={stages}"]
    plane.run_beside("kwok", [*command, "--manage-all-nodes", "--node-lease-duration-seconds=40"])
    for number in range(NODES):
        plane.kubectl("create", "-f", "-", stdin=json.dumps(_node(number)))
    plane.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")


def kwok_stages(startup_seconds: float) -> list[dict[str, Any]]:
    """What kwok brings about: nodes are there, pods are Ready after a while, and go as soon as they are deleted."""
    leaving = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    staying = {**leaving, "operator": "DoesNotExist"}
    waiting = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
    new = {"key": ".status.phase", "operator": "NotIn", "values": ["Running"]}
    return [
        _stage("node-ready", "Node", when=[new], then={"statusTemplate": _NODE_READY}),
        _stage(
            "pod-serves",
            "Pod",
            when=[staying, waiting],
            then={"statusTemplate": _POD_SERVES},
            delay={"durationMilliseconds": round(startup_seconds * 1000)},
        ),
        _stage("pod-gone", "Pod", when=[leaving], then={"delete": True}),
    ]


def _stage(
    name: str, kind: str, *, when: Sequence[dict[str, Any]], then: dict[str, Any], **more: Any
) -> dict[str, Any]:
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": list(when)},
        "next": {key: textwrap.dedent(value) if isinstance(value, str) else value for key, value in then.items()},
        **more,
    }
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _node(number: int) -> dict[str, Any]:
    name = f"nowhere-{number}"
    room = {"cpu": "10000", "memory": "100Ti", "ephemeral-storage": "100Ti", "pods": str(_PODS_PER_NODE)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"allocatable": room, "capacity": room},
    }
