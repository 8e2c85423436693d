"""The peers: pinned, with our scikit-learn; and a run in which one of them fails."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.model_server.environments import PEERS, InstallError, installed_version
from benchmarks.model_server.processes import ServerError
from benchmarks.model_server.servers import SERVERS

PINNED = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+( ; .+)?")


@pytest.mark.parametrize("name", sorted(path.stem for path in PEERS.glob("*.txt")))
def test_peers_must_be_pinned_with_our_version_of_scikit_learn(name: str) -> None:
    """Another version could refuse the joblib file, or be quicker or slower than the one beside it."""
    lines = (PEERS / f"{name}.txt").read_text().splitlines()
    assert all(PINNED.fullmatch(line) for line in lines)
    assert installed_version(name, "scikit-learn") == version("scikit-learn")
    assert name in {server.environment for server in SERVERS.values()}


@pytest.mark.parametrize("server", [one for one in SERVERS.values() if one.environment], ids=lambda one: one.key)
def test_servers_must_name_versions_that_are_pinned(server) -> None:
    """The report says which version of what was measured."""
    assert server.versions
    for package in server.versions:
        assert installed_version(server.environment, package)


@pytest.mark.parametrize(
    "error", [InstallError("no such version"), ServerError("it ended with 1"), ValueError("a bug")]
)
def test_run_must_go_on_without_a_server_that_fails(error: Exception) -> None:
    """It is left out from then on, with the reason; what is no failure of a server ends the run."""
    from benchmarks.model_server.__main__ import _measure

    asked = []

    class Round:
        options = SimpleNamespace(rounds=2, servers=("flask", "sagebrush"))

        def measure(self, server: Any, *, number: int) -> Iterator[dict[str, Any]]:
            asked.append((server.key, number))
            yield {"server": server.key, "round": number, "payload": "after-linear", "memoryMb": 1.0}
            if server.key == "flask":
                raise error

    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="a bug"):
            _measure(Round())
        return
    rows, failures = _measure(Round())
    assert asked == [("flask", 0), ("sagebrush", 0), ("sagebrush", 1)]
    assert [row["server"] for row in rows] == ["flask", "sagebrush", "sagebrush"]
    assert failures == {"flask": f"in round 1: {error}"}
