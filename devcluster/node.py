"""Configuration files and command lines of the node: containerd, CNI, kubelet and kube-proxy.

Everything they write is pointed below the state folder, on sockets and ports of their own, beside whatever container
runtime the machine may already have.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from devcluster import cgroups
from devcluster.components import LOOPBACK, Credentials
from devcluster.debian import program
from devcluster.network import NETWORK_NAME, Plan

NODE_NAME = "devcluster"
KUBELET_PORT = 20250
KUBELET_HEALTH_PORT = 20248
PROXY_HEALTH_PORT = 20256
PROXY_METRICS_PORT = 20249
PAUSE_TAG = "sagebrush/pause:dev"
CNI_PLUGINS = Path("/usr/lib/cni")

CONTAINERD_CONFIG = """\
version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/run"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{state}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/{pause}"
  stream_server_address = "127.0.0.1"
  # Where the machine lacks CAP_SYS_RESOURCE no sandbox could start without this.
  restrict_oom_score_adj = true
  # Pods' network namespaces lie below the state folder, where `down` finds all of them.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  Root = "{state}/runc"
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni}"
  conf_dir = "{state}/cni/conf"
"""


def socket_path(state: Path) -> Path:
    """Return containerd's socket."""
    return state / "containerd.sock"


def snapshotter(state: Path) -> str:
    """Return `overlayfs`, or `native` where the state folder's file system can't carry an overlay."""
    return "overlayfs" if overlay_works(state) else "native"


def overlay_works(folder: Path) -> bool:
    """Try whether an overlay can be mounted with its layers in `folder` (not on top of another overlay, for one)."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="overlay-") as scratch:
        layers = {name: Path(scratch) / name for name in ("lower", "upper", "work", "merged")}
        for layer in layers.values():
            layer.mkdir()
        options = f"lowerdir={layers['lower']},upperdir={layers['upper']},workdir={layers['work']}"
        mount = [str(program("mount")), "-t", "overlay", "overlay", "-o", options, str(layers["merged"])]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return False
        subprocess.run([str(program("umount")), str(layers["merged"])], check=True)
        return True


def write_containerd_files(state: Path, *, network: Plan, snapshots: str) -> None:
    """Write containerd's configuration and the CNI network that it attaches pods to."""
    conf = state / "cni" / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    text = CONTAINERD_CONFIG.format(
        state=state, pause=PAUSE_TAG, snapshotter=snapshots, runc=program("runc"), cni=CNI_PLUGINS
    )
    (state / "containerd.toml").write_text(text)
    (conf / "10-devcluster.conflist").write_text(json.dumps(_cni_network(state, network), indent=2))


def write_kubelet_files(state: Path, *, credentials: Credentials, network: Plan) -> None:
    """Write the kubelet's configuration, and the list of name servers that pods inherit."""
    (state / "resolv.conf").write_text(_resolv_conf())
    serving = credentials.authority.issue(
        "kubelet-serving", name=f"system:node:{NODE_NAME}", addresses=[NODE_NAME, network.node]
    )
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "port": KUBELET_PORT,
        "healthzPort": KUBELET_HEALTH_PORT,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(credentials.ca)}},
        "containerRuntimeEndpoint": f"unix://{socket_path(state)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.dns],
        "resolvConf": str(state / "resolv.conf"),
        "podLogsDir": str(state / "pod-logs"),
        "volumePluginDir": str(state / "kubelet" / "volume-plugins"),
        "maxPods": 250,
        "serializeImagePulls": False,
        # Nothing could bring a collected image back, and a full disk is the machine's business, not the cluster's.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
    _write_yaml(state / "kubelet.yaml", kubelet)


def write_kube_proxy_files(state: Path, *, credentials: Credentials, network: Plan) -> None:
    """Write kube-proxy's configuration."""
    kubeconfig = credentials.kubeconfig("kube-proxy", name="system:kube-proxy", groups=["system:node-proxier"])
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": network.pods,
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": f"{LOOPBACK}:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"{LOOPBACK}:{PROXY_METRICS_PORT}",
        # NodePorts answer on this machine only: what runs here (a demo S3 with demo keys) is not for the neighbours.
        "nodePortAddresses": ["127.0.0.0/8"],
        # New endpoints get traffic within a tenth of a second, so that scaling is measured and not this wait.
        "iptables": {"minSyncPeriod": "100ms", "localhostNodePorts": True},
        # Zero means: leave the machine's connection tracking as it is.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    _write_yaml(state / "kube-proxy.yaml", proxy)


def containerd_command(state: Path) -> list[str]:
    """Return containerd's command line."""
    return [str(program("containerd")), "--config", str(state / "containerd.toml"), "--log-level", "warn"]


def kubelet_command(executable: Path, *, state: Path, credentials: Credentials, network: Plan) -> list[str]:
    """Return kubelet's command line."""
    kubeconfig = credentials.kubeconfig("kubelet", name=f"system:node:{NODE_NAME}", groups=["system:nodes"])
    return [
        str(executable),
        f"--config={state / 'kubelet.yaml'}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={network.node}",
        f"--root-dir={state / 'kubelet'}",
        f"--cert-dir={state / 'kubelet' / 'pki'}",
    ]


def kube_proxy_command(executable: Path, *, state: Path) -> list[str]:
    """Return kube-proxy's command line."""
    return [str(executable), f"--config={state / 'kube-proxy.yaml'}"]


def has_name_servers(state: Path) -> bool:
    """True where pods inherit at least one name server from the machine."""
    return "nameserver" in (state / "resolv.conf").read_text()


def _cni_network(state: Path, network: Plan) -> dict[str, Any]:
    # A routed link per pod, and not a bridge: all traffic between pods passes the host's iptables, so Services work
    # between pods of one node without the br_netfilter module, and there is no bridge to remove afterwards.
    link = {
        "type": "ptp",
        "ipMasq": True,
        "mtu": network.mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state / "cni" / "addresses"),
            "ranges": [[{"subnet": network.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    # Lets pods' traffic through where another tool (Docker) has the host drop what it forwards.
    firewall = {"type": "firewall", "backend": "iptables"}
    return {"cniVersion": "0.4.0", "name": NETWORK_NAME, "plugins": [link, ports, firewall]}


def _resolv_conf() -> str:
    """Return the machine's name servers without those on loopback, which mean nothing inside a pod."""
    lines: list[str] = []
    for source in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        if not lines and Path(source).exists():
            text = Path(source).read_text()
            lines = [line for line in text.splitlines() if line.startswith("nameserver") and " 127." not in line]
    return "".join(f"{line}\n" for line in lines)


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
