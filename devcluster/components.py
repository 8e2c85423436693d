"""The command lines of etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and the files they need.

One description serves both uses: the loopback-only control plane of the integration tests, and the whole cluster.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.kubeconfig import write_kubeconfig
from devcluster.pki import Authority, Pair, signing_key

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a control plane listens, and the addresses that its cluster uses inside."""

    api_port: int
    etcd_port: int
    etcd_peer_port: int
    controller_manager_port: int
    scheduler_port: int
    bind: str = LOOPBACK
    advertise: str = LOOPBACK
    """What pods are told to reach the API server at; must not be loopback where there are pods."""
    services: str = "10.0.0.0/24"
    first_service: str = "10.0.0.1"

    @classmethod
    def free_ports(cls) -> "Addresses":
        """Return loopback addresses with ports that nobody listens on at this moment."""
        with_sockets = [socket.socket() for _ in range(5)]
        try:
            for each in with_sockets:
                each.bind((LOOPBACK, 0))
            ports = [each.getsockname()[1] for each in with_sockets]
        finally:
            for each in with_sockets:
                each.close()
        return cls(
            api_port=ports[0],
            etcd_port=ports[1],
            etcd_peer_port=ports[2],
            controller_manager_port=ports[3],
            scheduler_port=ports[4],
        )


class Credentials:
    """Every certificate, key and kubeconfig of one control plane, in one folder; made on first use."""

    def __init__(self, folder: Path, *, addresses: Addresses) -> None:
        """Create or read back the two authorities (cluster, etcd) and the keys of the control plane."""
        self.folder = folder
        self.addresses = addresses
        self.server = f"https://{LOOPBACK}:{addresses.api_port}"
        # etcd trusts an authority of its own: no certificate that Kubernetes hands out opens the database.
        self._etcd_authority = Authority("etcd-ca", folder=folder)
        self.authority = Authority("ca", folder=folder)
        self.etcd = self._etcd_authority.issue("etcd", name="etcd", addresses=[LOOPBACK, "localhost"])
        self.etcd_ca = self._etcd_authority.pair.certificate
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        self.api_server = self.authority.issue(
            "kube-apiserver",
            name="kube-apiserver",
            addresses=[LOOPBACK, "localhost", addresses.advertise, addresses.first_service, *names],
        )
        self.to_kubelet = self.authority.issue(
            "kube-apiserver-to-kubelet", name="kube-apiserver", groups=["system:masters"]
        )
        self.service_account_key, self.service_account_public = signing_key(folder)

    @property
    def ca(self) -> Path:
        """The cluster's certificate authority, as a PEM file."""
        return self.authority.pair.certificate

    def client(self, file: str, *, name: str, groups: Sequence[str] = ()) -> Pair:
        """Return a client certificate for a Kubernetes user."""
        return self.authority.issue(file, name=name, groups=groups)

    def kubeconfig(self, file: str, *, name: str, groups: Sequence[str] = (), target: Path | None = None) -> Path:
        """Write a kubeconfig for a Kubernetes user and return its path."""
        client = self.client(file, name=name, groups=groups)
        path = target or self.folder / f"{file}.kubeconfig"
        return write_kubeconfig(path, server=self.server, authority=self.ca, client=client)


def etcd_command(program: Path, *, credentials: Credentials, data: Path) -> list[str]:
    """Return etcd's command line: loopback, mutual TLS, and no fsync, since the data is disposable."""
    addresses, pair = credentials.addresses, credentials.etcd
    client = f"https://{LOOPBACK}:{addresses.etcd_port}"
    peer = f"https://{LOOPBACK}:{addresses.etcd_peer_port}"
    return [
        str(program),
        "--name=only",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=only={peer}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        "--client-cert-auth",
        f"--trusted-ca-file={credentials.etcd_ca}",
        f"--peer-cert-file={pair.certificate}",
        f"--peer-key-file={pair.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={credentials.etcd_ca}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(program: Path, *, credentials: Credentials, extra: Sequence[str] = ()) -> list[str]:
    """Return kube-apiserver's command line with Kubernetes's own default admission plug-ins."""
    addresses = credentials.addresses
    return [
        str(program),
        f"--bind-address={addresses.bind}",
        f"--advertise-address={addresses.advertise}",
        f"--secure-port={addresses.api_port}",
        f"--tls-cert-file={credentials.api_server.certificate}",
        f"--tls-private-key-file={credentials.api_server.key}",
        f"--client-ca-file={credentials.ca}",
        f"--etcd-servers=https://{LOOPBACK}:{addresses.etcd_port}",
        f"--etcd-cafile={credentials.etcd_ca}",
        f"--etcd-certfile={credentials.etcd.certificate}",
        f"--etcd-keyfile={credentials.etcd.key}",
        f"--service-cluster-ip-range={addresses.services}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-account-key-file={credentials.service_account_public}",
        f"--kubelet-client-certificate={credentials.to_kubelet.certificate}",
        f"--kubelet-client-key={credentials.to_kubelet.key}",
        f"--kubelet-certificate-authority={credentials.ca}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--shutdown-delay-duration=0s",
        *extra,
    ]


def controller_manager_command(program: Path, *, credentials: Credentials, extra: Sequence[str] = ()) -> list[str]:
    """Return kube-controller-manager's command line."""
    # One administrator for all controllers: an account each would cost a hundred requests at every start.
    kubeconfig = credentials.kubeconfig(
        "kube-controller-manager", name="system:kube-controller-manager", groups=["system:masters"]
    )
    return [
        str(program),
        *_delegated(kubeconfig, port=credentials.addresses.controller_manager_port),
        f"--root-ca-file={credentials.ca}",
        f"--service-account-private-key-file={credentials.service_account_key}",
        # Its default lies in /usr/libexec, where it would make folders.
        f"--flex-volume-plugin-dir={credentials.folder / 'volume-plugins'}",
        *extra,
    ]


def scheduler_command(program: Path, *, credentials: Credentials) -> list[str]:
    """Return kube-scheduler's command line."""
    kubeconfig = credentials.kubeconfig("kube-scheduler", name="system:kube-scheduler")
    return [str(program), *_delegated(kubeconfig, port=credentials.addresses.scheduler_port)]


def _delegated(kubeconfig: Path, *, port: int) -> list[str]:
    """Return the flags that controller manager and scheduler share."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        # There is only one of each: an election would cost seconds at every start and guard nothing.
        "--leader-elect=false",
    ]
