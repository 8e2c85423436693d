"""The dev cluster's parts that can be tested without starting one; a real one is started by the end-to-end tests."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from devcluster import (
    base_image,
    binaries,
    cgroups,
    cli,
    cluster,
    container_engine,
    debian,
    go_toolchain,
    network,
    paths,
    processes,
    teardown,
)
from devcluster.errors import DevclusterError
from devcluster.image_archives import Image, archive_tag_and_id, full_tag, write_archive
from devcluster.kubeconfig import write_kubeconfig
from devcluster.pki import Authority


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the machine's own cluster or caches."""
    monkeypatch.setenv("SAGEBRUSH_STATE", f"/tmp/sagebrush-test-{os.getpid()}")
    monkeypatch.setenv("SAGEBRUSH_CACHE", str(tmp_path / "cache"))


def wait_until_ended(process: processes.Process) -> None:
    """Give a killed process up to five seconds to be gone."""
    deadline = time.monotonic() + 5
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)


def test_process_must_be_found_again_and_stopped(tmp_path: Path) -> None:
    """What one command started, another one finds by its record and stops for good."""
    started = processes.start("sleeper", ["/bin/sleep", "60"], folder=tmp_path)
    found = processes.recorded(tmp_path)["sleeper"]
    assert found == started
    assert found.alive
    processes.stop(found)
    assert not found.alive
    processes.forget(found, folder=tmp_path)
    assert processes.recorded(tmp_path) == {}


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_process_with_recycled_pid_must_be_left_alone(tmp_path: Path, change: dict[str, Any]) -> None:
    """A pid alone names nobody: after a restart, or a wrap-around, it belongs to somebody else."""
    started = processes.start("sleeper", ["/bin/sleep", "60"], folder=tmp_path)
    stranger = replace(started, **change)
    assert not stranger.alive
    processes.stop(stranger)
    assert started.alive
    processes.stop(started)


def test_process_with_damaged_record_must_not_stop_the_others(tmp_path: Path) -> None:
    """A record that a crash cut off is skipped."""
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "etcd.json").write_text('{"name": "etcd", "pi')
    assert processes.recorded(tmp_path) == {}


def test_process_of_a_test_must_die_with_its_parent(tmp_path: Path) -> None:
    """A killed test run leaves no API server behind."""
    script = (
        "import os, sys, time; from pathlib import Path; from devcluster import processes\n"
        "child = processes.start('sleeper', ['/bin/sleep', '60'], folder=Path(sys.argv[1]), dies_with_us=True)\n"
        "while Path(f'/proc/{child.pid}/comm').read_text() != 'sleep\\n': time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)"
    )
    os.spawnve(
        os.P_WAIT, sys.executable, [sys.executable, "-c", script, str(tmp_path)], {**os.environ, "PYTHONPATH": "."}
    )
    orphan = processes.recorded(tmp_path)["sleeper"]
    wait_until_ended(orphan)
    assert not orphan.alive


def test_state_folder_must_be_short_enough_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that no unix socket could have is refused before anything starts."""
    monkeypatch.setenv("SAGEBRUSH_STATE", "/" + "x" * 80)
    with pytest.raises(DevclusterError, match="shorter"):
        paths.state_dir()


def test_certificates_must_chain_and_keep_their_keys_private(tmp_path: Path) -> None:
    """Names and addresses stand in the certificate; keys and kubeconfigs are for their owner only."""
    authority = Authority("ca", folder=tmp_path)
    pair = authority.issue("server", name="kubernetes", groups=["g"], addresses=["127.0.0.1", "localhost"])
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.certificate.read_bytes()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    kubeconfig = write_kubeconfig(
        tmp_path / "kubeconfig", server="https://x", authority=authority.pair.certificate, client=pair
    )
    for private in (pair.key, authority.pair.key, kubeconfig):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert Authority("ca", folder=tmp_path).issue("server", name="kubernetes") == pair


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("python:3.11", "docker.io/library/python:3.11"),
        ("sagebrush/operator:dev", "docker.io/sagebrush/operator:dev"),
        ("sagebrush/operator", "docker.io/sagebrush/operator:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("registry.example:5000/x", "registry.example:5000/x:latest"),
    ],
)
def test_tag_must_be_spelled_as_containerd_spells_it(short: str, full: str) -> None:
    """One spelling everywhere, or an imported image would not be the one that the pod names."""
    assert full_tag(short) == full


def test_image_archive_must_depend_on_content_only(tmp_path: Path) -> None:
    """The id tells whether anything changed, so neither time nor owner may enter it."""
    program = tmp_path / "program"
    program.write_text("one")
    program.chmod(0o755)
    image = Image(tag="sagebrush/x:dev", files={"/bin/program": program}, entrypoint=["/bin/program"])
    first = archive_tag_and_id(write_archive(image, target=tmp_path / "1.tar"))
    os.utime(program, (1, 1))
    assert archive_tag_and_id(write_archive(image, target=tmp_path / "2.tar")) == first
    assert first[0] == "docker.io/sagebrush/x:dev"
    program.write_text("two")
    assert archive_tag_and_id(write_archive(image, target=tmp_path / "3.tar"))[1] != first[1]
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == ["1.tar", "2.tar", "3.tar"]
    with tarfile.open(tmp_path / "1.tar") as archive:
        assert archive.getnames()[-1] == "manifest.json"


def test_image_archive_must_be_recognised(tmp_path: Path) -> None:
    """A file that is no image is refused by name."""
    (tmp_path / "no.tar").write_text("no")
    with pytest.raises(DevclusterError, match=r"no\.tar"):
        archive_tag_and_id(tmp_path / "no.tar")


def test_base_image_must_be_read_from_the_dockerfile(tmp_path: Path) -> None:
    """Arguments and stages are followed; two different bases could not both be substituted."""
    file = tmp_path / "Dockerfile"
    file.write_text(
        "ARG BASE=python:3.11-slim-bookworm\nFROM ${BASE} AS a\nFROM a AS b\nFROM $BASE\nCOPY --from=a x y\n"
    )
    assert base_image.base_name(file, arguments={}) == "docker.io/library/python:3.11-slim-bookworm"
    assert base_image.base_name(file, arguments={"BASE": "x/y:1"}) == "docker.io/x/y:1"
    file.write_text("FROM a:1\nFROM b:1\n")
    with pytest.raises(DevclusterError, match="exactly one image"):
        base_image.base_name(file, arguments={})


@pytest.mark.parametrize(("version", "taken"), [("v1.36.9", True), ("v1.35.0", False)])
def test_binary_of_the_machine_must_win_only_with_the_right_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    """KUBEBUILDER_ASSETS comes first, but an older Kubernetes there is not used in silence."""
    program = tmp_path / "assets" / "kube-apiserver"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho Kubernetes {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(program.parent))
    assert (binaries.find("kube-apiserver") == program) is taken


def test_binaries_must_be_cached_by_what_they_are_made_of() -> None:
    """Programs of one family share a folder, and each family's key is its own."""
    assert binaries.built_path("kubelet").parent == binaries.built_path("kubectl").parent
    assert len({binaries.built_path(name).parent for name in binaries.PROGRAMS}) == len(
        {program.family for program in binaries.PROGRAMS.values()}
    )
    with pytest.raises(DevclusterError, match="unknown tool nonsense"):
        binaries.ensure(["nonsense"])


def test_package_scripts_must_not_start_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own policy is back afterwards, also when an earlier run was killed in between."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", policy)
    with debian.services_stay_off():
        assert "exit 101" in policy.read_text()
    assert not policy.exists()
    policy.write_text("the machine's own")
    killed = debian.services_stay_off()
    killed.__enter__()
    with pytest.raises(ZeroDivisionError), debian.services_stay_off():
        raise ZeroDivisionError
    assert policy.read_text() == "the machine's own"
    assert list(tmp_path.glob("policy*")) == [policy]


def routes(*destinations: str) -> list[dict[str, Any]]:
    """Routes as `ip -j route` prints them."""
    return [{"dst": "default", "dev": "eth0"}, *({"dst": each, "dev": "eth0"} for each in destinations)]


LINKS = [
    {"ifname": "docker0", "mtu": 1500, "addr_info": [{"local": "172.17.0.1", "prefixlen": 16}]},
    {"ifname": "eth0", "mtu": 1400, "addr_info": [{"local": "192.168.7.9", "prefixlen": 24}]},
]


def test_network_must_avoid_what_the_machine_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods and services get addresses that no route leads to; the node's is its default route's."""
    taken = routes("192.168.7.0/24", "10.240.0.0/12")
    monkeypatch.setattr(network, "_ip", lambda *words: taken if "route" in words else LINKS)
    plan = network.plan()
    assert plan == network.Plan(node="192.168.7.9", mtu=1400, services="10.97.0.0/20", pods="10.97.16.0/20")
    assert (plan.first_service, plan.dns, plan.gateway) == ("10.97.0.1", "10.97.0.10", "10.97.16.1")
    taken += routes("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10", "198.18.0.0/15")
    with pytest.raises(DevclusterError, match="every candidate network"):
        network.plan()


def test_chains_must_go_with_the_rules_that_lead_to_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rules of others stay as they are, and so do chains that were there before."""
    rules = [
        "-A PREROUTING -m comment --comment x -j KUBE-SERVICES",
        "-A PREROUTING -j DOCKER",
        "-A KUBE-SERVICES -j KUBE-MARK-MASQ",
    ]
    chains = ["PREROUTING", "DOCKER", "KUBE-SERVICES", "KUBE-MARK-MASQ", "CNI-OLD"]
    monkeypatch.setattr(network, "_tables", lambda tool: {"nat": (chains, rules)} if tool == "iptables" else {})
    written = tmp_path / "script"
    restore = tmp_path / "iptables-restore"
    restore.write_text(f"#!/bin/sh\ncat > {written}\n")
    restore.chmod(0o755)
    monkeypatch.setattr(network, "program", lambda name: tmp_path / name)
    doomed = network.our_chains(besides=["iptables/nat/CNI-OLD"])
    assert doomed == ["iptables/nat/KUBE-MARK-MASQ", "iptables/nat/KUBE-SERVICES"]
    network.remove_chains(doomed)
    assert written.read_text().splitlines() == [
        "*nat",
        "-F KUBE-MARK-MASQ",
        "-F KUBE-SERVICES",
        "-D PREROUTING -m comment --comment x -j KUBE-SERVICES",
        "-X KUBE-MARK-MASQ",
        "-X KUBE-SERVICES",
        "COMMIT",
    ]


def test_down_must_not_touch_a_folder_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAGEBRUSH_STATE=/home is a mistake, not an order."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("SAGEBRUSH_STATE", folder)
        (Path(folder) / "precious").touch()
        with pytest.raises(DevclusterError, match="not a cluster of ours"):
            teardown.down()
        assert (Path(folder) / "precious").exists()


def test_command_line_must_explain_errors_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1 and one line that says what to do."""
    assert cli.main(["kubeconfig"]) == 1
    assert capsys.readouterr().err == "error: there is no cluster: `make cluster-up` makes one\n"
    assert cli.main(["status"]) == 1
    assert "makes one" in capsys.readouterr().out


def script(path: Path, text: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_permission_error_must_not_advise_root_to_be_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What root may not do, root can't do by being root."""
    for user, advised in ((1000, True), (0, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        monkeypatch.setattr(cluster, "problems", raise_denied)
        assert cli.main(["status"]) == 1
        assert ("run this as root" in capsys.readouterr().err) is advised


def raise_denied() -> list[str]:
    """Fail as the kernel does."""
    raise PermissionError(errno.EACCES, "Permission denied", "/x")


def test_uv_of_the_makefile_must_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine has uv neither on PATH nor in UV, and its environment has no pip."""
    monkeypatch.setenv("UV", str(tmp_path / "gone"))
    script(tmp_path / "bin" / "uv", "exit 127")  # as a version manager's shim without a version
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert go_toolchain._find_uv() is None
    ours = script(paths.cache_dir() / "uv-1.2.3" / "bin" / "uv", "exit 0")
    assert go_toolchain._find_uv() == str(ours)
    monkeypatch.setenv("UV", str(script(tmp_path / "uv", "exit 0")))
    assert go_toolchain._find_uv() == str(tmp_path / "uv")


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Puts a script in the place of apt-get, for a root whose services nobody starts."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy-rc.d")
    return lambda body: script(tmp_path / "bin" / "apt-get", body)


def test_failing_apt_update_must_leave_the_decision_to_the_installation(
    tmp_path: Path, apt_get: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken package source of many is no reason to give up; a held lock is waited for."""
    wanted, words = tmp_path / "installed", tmp_path / "words"
    apt_get(f'echo "$@" >> {words}\ncase "$*" in *update*) echo no such source >&2; exit 100;; esac\n> {wanted}')
    debian.require({str(wanted): "some-package"})
    assert "no such source" in capsys.readouterr().err
    assert "-o DPkg::Lock::Timeout=600 install" in words.read_text()


def test_installation_must_be_tried_again(
    tmp_path: Path,
    apt_get: Callable[[str], object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror out of reach for a moment is no reason to give up; one that stays away is, with apt's own words."""
    wanted, tried = tmp_path / "installed", tmp_path / "tried"
    apt_get(
        f'case "$*" in *update*) exit 0;; esac\n'
        f'echo >> {tried}; [ $(wc -l < {tried}) = 3 ] && > {wanted} || {{ echo "404 Not Found" >&2; exit 100; }}'
    )
    monkeypatch.setattr(debian, "RETRY_SECONDS", (0.0,))
    with pytest.raises(DevclusterError, match="404 Not Found"):
        debian.require({str(wanted): "some-package"})
    assert "again in 0 s" in capsys.readouterr().err
    debian.require({str(wanted): "some-package"})
    assert len(tried.read_text()) == 3


def test_policy_of_a_killed_installation_must_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own comes back, and a policy that isn't exactly ours is left alone."""
    policy, saved = tmp_path / "policy-rc.d", tmp_path / "policy-rc.d.before-sagebrush"
    monkeypatch.setattr(debian, "POLICY", policy)
    debian.restore_policy()
    policy.write_text(debian.REFUSE)
    debian.restore_policy()
    assert list(tmp_path.glob("policy*")) == []
    policy.write_text(debian.REFUSE)
    saved.write_text("the machine's own")
    debian.restore_policy()
    debian.restore_policy()
    assert policy.read_text() == "the machine's own"
    assert not saved.exists()


@pytest.mark.parametrize(("version", "taken"), [("v3.17.0+g1", True), ("v3.20.2", True), ("v3.9.4", False)])
def test_helm_of_the_machine_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    """Helm 3.16 and before is not used in silence."""
    helm = script(tmp_path / "assets" / "helm", f"echo {version}")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(helm.parent))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (binaries.find("helm") == helm) is taken


def test_build_must_not_begin_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how much is missing and where, also for a folder that is yet to be made."""
    usage = shutil.disk_usage("/")._replace(free=3_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    paths.require_space([tmp_path / "a" / "b"], gigabytes=3, purpose="x")
    with pytest.raises(DevclusterError, match=r"15\.0 GB where .*/a/b lies.*room for 12\.0 GB more"):
        paths.require_space([tmp_path / "a" / "b"], gigabytes=15, purpose="x")


def test_components_must_not_inherit_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a cluster talk to each other directly; only what pulls images needs a proxy."""
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid")
    for name, keeps in (("without", False), ("with", True)):
        started = processes.start(name, ["/usr/bin/env"], folder=tmp_path, keeps_proxy=keeps)
        wait_until_ended(started)
        processes.stop(started)
        assert Path(started.log).read_text().count("proxy.invalid") == (3 if keeps else 0)


def test_failed_pull_must_say_why() -> None:
    """The last line of stderr is the reason."""
    failed = subprocess.CompletedProcess(["x"], 1, "", "trying\nerror: no such host\n")
    assert container_engine._failure(failed) == "error: no such host"
    assert container_engine._failure(subprocess.CompletedProcess(["x"], 125, "", "")) == "exit status 125"
    assert container_engine._failure(subprocess.CompletedProcess(["x"], 0, "", "warning")) is None


def test_cgroup_that_cannot_delegate_must_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a privileged container the root cgroup holds processes; an optional controller is none of our business."""

    def busy(_: Path, text: str) -> int:
        raise OSError(errno.EBUSY, "Device or resource busy", text)

    (tmp_path / "cgroup.controllers").write_text("hugetlb")
    monkeypatch.setattr(Path, "write_text", busy)
    cgroups._delegate_controllers(tmp_path)
    monkeypatch.undo()
    (tmp_path / "cgroup.controllers").write_text("cpuset memory")
    monkeypatch.setattr(Path, "write_text", busy)
    with pytest.raises(DevclusterError, match=r"cpuset controller.*privileged container.*cgroup\.procs"):
        cgroups._delegate_controllers(tmp_path)


@pytest.fixture
def deeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `down` would have done to the machine; nothing of it is done."""
    done: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroups, "remove", lambda: done.append("cgroup"))
    monkeypatch.setattr(cgroups, "leftovers", list)
    monkeypatch.setattr(network, "our_links", lambda _: [])
    monkeypatch.setattr(network, "remove_links", lambda _: done.append("links"))
    monkeypatch.setattr(network, "our_chains", lambda **_: ["iptables/nat/KUBE-SERVICES"])
    monkeypatch.setattr(network, "remove_chains", done.extend)
    monkeypatch.setattr(network, "restore_sysctls", lambda _: done.append("sysctls"))
    monkeypatch.setattr(teardown, "_remove_files", lambda *_: done.append("files"))
    monkeypatch.setattr(teardown, "_leftovers", lambda *_: [])
    monkeypatch.setattr(teardown, "_runs", lambda _: False)
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy-rc.d")
    return done


def write_marker(*, boot: str) -> None:
    """A state folder as `up` leaves it."""
    plan = {"node": "192.168.7.9", "mtu": 1400, "services": "10.97.0.0/20", "pods": "10.97.16.0/20"}
    facts = {"boot": boot, "plan": plan, "baseline": {"sysctls": {}, "chains": []}, "kubernetes": "v1.0.0"}
    paths.state_dir().mkdir()
    (paths.state_dir() / teardown.MARKER).write_text(json.dumps(facts))


@pytest.fixture
def marker() -> Iterator[None]:
    """The state folder goes after the test."""
    yield
    shutil.rmtree(paths.state_dir(), ignore_errors=True)


@pytest.mark.usefixtures("marker")
def test_down_must_take_only_what_its_record_speaks_for(deeds: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No record: the cgroup may be another cluster's. Another boot: nothing but files survived it."""
    teardown.down()
    assert deeds == []
    teardown.down(force=True)
    assert deeds == ["cgroup", "iptables/nat/KUBE-SERVICES", "files"]
    deeds.clear()
    write_marker(boot="another")
    teardown.down()
    assert deeds == ["files"]
    deeds.clear()
    shutil.rmtree(paths.state_dir())
    write_marker(boot=processes.boot_id())
    assert cluster._recorded_version() == "v1.0.0"
    teardown.down()
    assert deeds == ["cgroup", "links", "iptables/nat/KUBE-SERVICES", "sysctls", "files"]
    deeds.clear()
    monkeypatch.setattr(teardown, "_runs", lambda name: name == "kubelet")
    teardown.down()
    assert deeds == ["cgroup", "links", "sysctls", "files"]


@pytest.mark.usefixtures("marker")
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"boot": "another"}'])
def test_state_of_an_earlier_boot_must_give_way_to_a_fresh_cluster(
    deeds: list[str], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """A machine that lost its power may leave a record that ends early: `up` starts afresh all the same."""
    plan = network.Plan(node="192.168.7.9", mtu=1400, services="10.97.0.0/20", pods="10.97.16.0/20")
    monkeypatch.setattr(network, "plan", lambda: plan)
    monkeypatch.setattr(network, "our_chains", lambda **_: [])
    write_marker(boot="another")
    (paths.state_dir() / teardown.MARKER).write_text(content)
    assert cluster._Start({}, []).plan == plan
    assert "files" in deeds
    assert json.loads((paths.state_dir() / teardown.MARKER).read_text())["boot"] == processes.boot_id()


def test_program_of_another_cluster_must_be_seen_while_it_runs(tmp_path: Path) -> None:
    """By name, and only until it ends."""
    program = tmp_path / "sagebrush-zzz"
    shutil.copy("/bin/sleep", program)
    started = processes.start("sleeper", [str(program), "60"], folder=tmp_path)
    assert teardown._runs("sagebrush-zzz")
    processes.stop(started)
    assert not teardown._runs("sagebrush-zzz")


def test_kernel_setting_that_cannot_be_set_must_not_end_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc/sys is read-only the files are removed all the same."""

    def read_only(_: Path, text: str) -> int:
        raise OSError(errno.EROFS, "Read-only file system", text)

    monkeypatch.setattr(Path, "write_text", read_only)
    network.restore_sysctls({"kernel/panic": "12345"})


def test_tools_must_not_build_what_only_a_benchmark_runs() -> None:
    """A first `make test` takes its minutes for what it needs."""
    assert set(binaries.PROGRAMS) - set(binaries.usual()) == {"kwok"}
    assert set(cluster.PROGRAMS) <= set(binaries.usual())
