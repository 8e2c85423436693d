"""The host's network as a node needs it: addresses that clash with nothing, and iptables rules that can be taken back.

Only reads and removes: what adds rules and interfaces are kube-proxy and the CNI plug-ins.
"""

import ipaddress
import json
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.debian import program
from devcluster.errors import DevclusterError

NETWORK_NAME = "sagebrush-devcluster"
# Tried in this order; a /16 each, split into services and pods. The last lies in the range reserved for benchmarks.
CANDIDATES = ("10.244.0.0/16", "10.97.0.0/16", "172.29.0.0/16", "100.100.0.0/16", "198.18.0.0/16")
OUR_CHAIN = re.compile(r"(KUBE|CNI)-")
# What kubelet, kube-proxy and the CNI plug-ins are known to change.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The addresses of one cluster."""

    node: str
    mtu: int
    pods: str
    services: str

    @property
    def first_service(self) -> str:
        """Address of the `kubernetes` Service."""
        return str(ipaddress.ip_network(self.services)[1])

    @property
    def dns(self) -> str:
        """Address of the `kube-dns` Service."""
        return str(ipaddress.ip_network(self.services)[10])

    @property
    def gateway(self) -> str:
        """The address that the host's end of every pod's link has: by it we know our links."""
        return str(ipaddress.ip_network(self.pods)[1])


def plan() -> Plan:
    """Choose addresses: the node's own from its default route, pods and services where no route or address lies."""
    routes = _ip("-4", "route", "show", "table", "all")
    links = _ip("-4", "addr", "show", "scope", "global")
    taken = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"][0].isdigit()]
    taken += [
        ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
        for link in links
        for info in link["addr_info"]
    ]
    uplink = next((route.get("dev") for route in routes if route["dst"] == "default"), None)
    ordered = sorted(links, key=lambda link: bool(link["ifname"] != uplink))
    if not ordered:
        raise DevclusterError("this machine has no global IPv4 address: pods could not reach the API server")
    # The uplink itself may cover everything (0.0.0.0/1): such wide routes say nothing about what is in use.
    narrow = [network for network in taken if network.prefixlen >= 8]
    for candidate in map(ipaddress.IPv4Network, CANDIDATES):
        if not any(candidate.overlaps(network) for network in narrow):
            blocks = list(candidate.subnets(new_prefix=20))
            node = ordered[0]["addr_info"][0]["local"]
            return Plan(node=node, mtu=ordered[0]["mtu"], services=str(blocks[0]), pods=str(blocks[1]))
    raise DevclusterError(f"every candidate network is in use on this machine: {', '.join(CANDIDATES)}")


def baseline() -> dict[str, Any]:
    """Return what must be as before after `down`: kernel settings, and chains that are not ours."""
    settings = {}
    for name in SYSCTLS:
        path = Path("/proc/sys") / name
        if path.exists():
            settings[name] = path.read_text().strip()
    return {"sysctls": settings, "chains": our_chains()}


def restore_sysctls(settings: dict[str, str]) -> None:
    """Set kernel settings back where they differ; one that can't be set (a read-only /proc/sys) stays as it is."""
    for name, value in settings.items():
        path = Path("/proc/sys") / name
        with suppress(OSError):
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)


def our_chains(*, besides: list[str] | None = None) -> list[str]:
    """List iptables chains that Kubernetes and CNI plug-ins make, as `iptables/nat/KUBE-SERVICES`."""
    found = [
        f"{tool}/{table}/{chain}"
        for tool in ("iptables", "ip6tables")
        for table, (chains, _) in _tables(tool).items()
        for chain in chains
        if OUR_CHAIN.match(chain)
    ]
    return sorted(set(found) - set(besides or ()))


def remove_chains(chains: list[str]) -> None:
    """Remove chains with all rules in them and all rules that lead to them; everything else stays untouched."""
    for tool in ("iptables", "ip6tables"):
        script = []
        for table, (_, rules) in _tables(tool).items():
            prefix = f"{tool}/{table}/"
            doomed = {chain.removeprefix(prefix) for chain in chains if chain.startswith(prefix)}
            if not doomed:
                continue
            leading = [rule for rule in rules if rule.split()[1] not in doomed and doomed & set(_jumps(rule))]
            script += [f"*{table}", *(f"-F {chain}" for chain in sorted(doomed))]
            script += [rule.replace("-A", "-D", 1) for rule in leading]
            script += [*(f"-X {chain}" for chain in sorted(doomed)), "COMMIT"]
        if script:
            done = subprocess.run(
                [str(program(f"{tool}-restore")), "--noflush", "--wait"],
                input="\n".join(script) + "\n",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise DevclusterError(f"{tool}-restore refused to remove our chains: {done.stderr.strip()}")


def our_links(gateway: str) -> list[str]:
    """List the host's ends of pods' links: those that carry the pods' gateway address."""
    return [
        link["ifname"]
        for link in _ip("-4", "addr", "show")
        if any(info.get("local") == gateway for info in link.get("addr_info", ()))
    ]


def remove_links(names: list[str]) -> None:
    """Delete network interfaces; one that is already gone is no error."""
    for name in names:
        subprocess.run([str(program("ip")), "link", "delete", name], capture_output=True, check=False)


def _jumps(rule: str) -> list[str]:
    return re.findall(r"(?:-j|-g|--jump|--goto) (\S+)", rule)


def _tables(tool: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return chains and rules of every table of iptables or ip6tables; nothing where the tool can't be used."""
    try:
        done = subprocess.run([str(program(f"{tool}-save"))], capture_output=True, text=True, check=False)
    except DevclusterError:
        return {}
    tables: dict[str, tuple[list[str], list[str]]] = {}
    table = ""
    for line in done.stdout.splitlines():
        if line.startswith("*"):
            table = line[1:]
            tables[table] = ([], [])
        elif line.startswith(":"):
            tables[table][0].append(line[1:].split()[0])
        elif line.startswith("-A"):
            tables[table][1].append(line)
    return tables


def _ip(*arguments: str) -> list[dict[str, Any]]:
    """Run `ip -j` and return its answer, without the empty objects that it leaves for what it filtered out."""
    done = subprocess.run([str(program("ip")), "-j", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevclusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    answer: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return [each for each in answer if each]
