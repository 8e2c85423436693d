"""Installs the Debian packages a node needs, without letting their services start."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, locked
from devcluster.progress import say, step

POLICY = Path("/usr/sbin/policy-rc.d")
REFUSE = "#!/bin/sh\n# Written by the Sagebrush dev cluster for the length of one installation.\nexit 101\n"

# What must be there -> the package that brings it (Debian's and Ubuntu's names are the same).
NODE_NEEDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
}
# Where systems keep the certificate authorities they trust; Debian's and Ubuntu's place comes first.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
RETRY_SECONDS = (5.0, 20.0)
# Debian keeps these folders out of an ordinary user's PATH.
SYSTEM_PATH = "/usr/sbin:/sbin"


def search_path() -> str:
    """Return PATH with the system administration folders added."""
    return f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}"


def program(name: str) -> Path:
    """Return a system program by name; raises DevclusterError where there is none."""
    found = shutil.which(name, path=search_path())
    if found is None:
        raise DevclusterError(f"the program {name} is not installed")
    return Path(found)


def require(needs: dict[str, str]) -> None:
    """Install the packages of what is missing among `needs` (program or path -> package); needs apt and root for that."""
    missing = sorted({package for name, package in needs.items() if not _present(name)})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise DevclusterError(f"missing {', '.join(missing)}, and there is no apt-get here: install them by hand")
    if os.geteuid() != 0:
        raise DevclusterError(f"missing packages: run `apt-get install {' '.join(missing)}` as root")
    with locked(cache_dir() / "apt.lock"), services_stay_off():
        _install(missing)
    if absent := [name for name in needs if not _present(name)]:
        raise DevclusterError(f"still missing after the installation: {', '.join(absent)}")


def _install(packages: Sequence[str]) -> None:
    """Fetch the lists and install; again where a mirror was out of reach or in the middle of its own update."""
    for pause in (*RETRY_SECONDS, None):
        with step("apt-get update"):
            try:
                _apt("update", "-q")
            except DevclusterError as error:  # one broken source of many: whether it matters, the installation shows
                say(f"warning: {error}")
        try:
            with step(f"apt-get install {' '.join(packages)}"):
                _apt("install", "-q", "-y", "--no-install-recommends", *packages)
        except DevclusterError as error:
            if pause is None:
                raise
            say(f"{error}; again in {pause:.0f} s")
            time.sleep(pause)
        else:
            return


@contextmanager
def services_stay_off() -> Iterator[None]:
    """Forbid package scripts to start services inside the block, and put the machine's own policy back after it."""
    saved = _saved_policy()
    # A saved policy with ours in its place is what a crash leaves: it is the machine's own, so keep that one.
    if POLICY.exists() and not saved.exists() and POLICY.read_text() != REFUSE:
        POLICY.rename(saved)
    POLICY.write_text(REFUSE)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if saved.exists():
            saved.rename(POLICY)
        else:
            POLICY.unlink(missing_ok=True)


def require_certificates() -> None:
    """Install the certificate authorities that downloads are checked with, where the machine has none."""
    if certificate_bundle() is None:
        require({BUNDLES[0]: "ca-certificates"})


def certificate_bundle() -> Path | None:
    """Return the machine's certificate authorities as one file; None where there is no such file."""
    candidates = (os.environ.get("SSL_CERT_FILE", ""), *BUNDLES)
    return next((Path(name) for name in candidates if name and Path(name).is_file()), None)


def restore_policy() -> None:
    """Take away the policy that a killed installation left, and put the machine's own back; nothing else is touched."""
    if not _policy_is_stale():
        return
    with locked(cache_dir() / "apt.lock"):  # an installation that still runs needs it
        if not _policy_is_stale():
            return
        if _saved_policy().exists():
            _saved_policy().rename(POLICY)
        else:
            POLICY.unlink()


def _policy_is_stale() -> bool:
    if POLICY.exists():
        return POLICY.read_bytes() == REFUSE.encode()
    return _saved_policy().exists()


def _saved_policy() -> Path:
    return POLICY.with_name("policy-rc.d.before-sagebrush")


def _present(name: str) -> bool:
    return Path(name).exists() if "/" in name else shutil.which(name, path=search_path()) is not None


def _apt(*arguments: str) -> Sequence[str]:
    """Run apt-get without questions; its output is shown only if it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": search_path()}
    # Automatic upgrades hold dpkg's lock for minutes, on a fresh machine above all.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=600", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        say(done.stdout[-2000:])
        raise DevclusterError(f"apt-get {' '.join(arguments)} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.splitlines()
