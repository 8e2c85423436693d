"""Writes kubeconfig files that carry their certificates inside, so that they can be copied anywhere."""

import base64
import os
from pathlib import Path

import yaml

from devcluster.pki import Pair

CONTEXT = "sagebrush-devcluster"


def write_kubeconfig(path: Path, *, server: str, authority: Path, client: Pair) -> Path:
    """Write a kubeconfig with one context for one client certificate, readable by its owner only."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": client.certificate.stem}}],
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _encoded(authority)}}
        ],
        "users": [
            {
                "name": client.certificate.stem,
                "user": {
                    "client-certificate-data": _encoded(client.certificate),
                    "client-key-data": _encoded(client.key),
                },
            }
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(content, sort_keys=False))
    fresh.rename(path)
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
