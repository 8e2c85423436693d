"""Which pods are read directly."""

from typing import Any

import pytest

from sagebrush.core.resource import Key, Manifest
from sagebrush.kube.cache import Cache
from sagebrush.metrics.answer import SeriesKey
from sagebrush.metrics.targets import PodAddress, address_of, find_targets


def endpoint(name: str = "kdd", **scaling: Any) -> Manifest:
    return {
        "kind": "ModelEndpoint",
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}"},
        "spec": {"model": {}, "scaling": {"source": "Pods", "maxReplicas": 3, **scaling}},
    }


def pod(name: str = "kdd-1", *, endpoint: str = "kdd", ip: str = "10.0.0.7", state: str = "running") -> Manifest:
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"sagebrush.dev/endpoint": endpoint},
        },
        "spec": {
            "containers": [
                {"name": "sidecar", "ports": [{"name": "metrics", "containerPort": 1}]},
                {
                    "name": "serve",
                    "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9102}],
                },
            ]
        },
        "status": {
            "podIP": ip,
            "phase": "Running",
            "containerStatuses": [{"name": "serve", "state": {state: {}}}],
        },
    }


def found(*objects: Manifest) -> Any:
    cache = Cache()
    for each in objects:
        cache.put(each)
    assert cache.get(Key("ModelEndpoint", "shop", "kdd"))
    return find_targets(cache)


def test_targets_must_be_the_pods_of_endpoints_that_ask_for_it() -> None:
    """Each pod of it, at the port of the serving container that is named metrics."""
    other = endpoint("iris")
    del other["spec"]["scaling"]["source"]
    targets = found(endpoint(), other, pod(), pod("kdd-2", ip="fd00::7"), pod("iris-1", endpoint="iris"))
    assert targets == {
        SeriesKey("shop", "kdd", "AllTraffic"): (
            PodAddress("kdd-1", "10.0.0.7", 9102),
            PodAddress("kdd-2", "fd00::7", 9102),
        )
    }
    urls = [each.url for each in targets[SeriesKey("shop", "kdd", "AllTraffic")]]
    assert urls == ["http://10.0.0.7:9102/metrics", "http://[fd00::7]:9102/metrics"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"mode": "Recommend"}, True),
        ({"mode": "Off"}, False),
        ({"source": "Prometheus"}, False),
    ],
)
def test_targets_must_leave_alone_who_does_not_want_to_be_read(change: dict[str, str], expected: bool) -> None:
    """Off reads nothing; Recommend reads as Auto does."""
    assert bool(found(endpoint(**change), pod())) == expected


def test_targets_must_leave_out_endpoints_that_are_deleted() -> None:
    """Nobody decides about them any more."""
    body = endpoint()
    body["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
    assert found(body, pod()) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, PodAddress("kdd-1", "10.0.0.7", 9102)),
        ({"ip": ""}, None),
        ({"state": "waiting"}, None),
        ({"state": "terminated"}, None),
    ],
)
def test_address_must_be_that_of_a_running_server(change: dict[str, str], expected: PodAddress | None) -> None:
    """A pod without an address, or whose server does not run, is not there yet or no more."""
    assert address_of(pod(**change)) == expected


def test_address_must_tell_of_a_missing_port() -> None:
    """An image of one's own without metricsPort is known, and cannot be read."""
    body = pod()
    body["spec"]["containers"][1]["ports"].pop()
    assert address_of(body) == PodAddress("kdd-1", "10.0.0.7", None)
    body["status"]["phase"] = "Failed"
    assert address_of(body) is None
