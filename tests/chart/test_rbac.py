"""What the operator may do: exactly the rules listed here, each verb of which has its reason beside it in the chart."""

from collections.abc import Iterable
from typing import Any

import pytest

OWNED = {"get", "list", "watch", "create", "patch"}

WATCHED = {
    ("sagebrush.dev", "trainingjobs"): {"list", "watch", "patch"},
    ("sagebrush.dev", "modelendpoints"): {"list", "watch", "patch"},
    ("sagebrush.dev", "trainingjobs/status"): {"patch"},
    ("sagebrush.dev", "modelendpoints/status"): {"patch"},
    ("sagebrush.dev", "trainingjobs/finalizers"): {"update"},
    ("sagebrush.dev", "modelendpoints/finalizers"): {"update"},
    ("batch", "jobs"): OWNED | {"delete"},
    ("apps", "deployments"): OWNED,
    ("", "services"): OWNED,
    ("discovery.k8s.io", "endpointslices"): OWNED,
    ("", "pods"): {"list", "watch"},
    ("", "pods/log"): {"get"},
    ("autoscaling", "horizontalpodautoscalers"): {"list"},
    ("keda.sh", "scaledobjects"): {"list"},
    ("events.k8s.io", "events"): {"create"},
}
CLUSTER_WIDE = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"},
}
CLUSTER_ID = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
LEASE = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["sagebrush-operator"],
        "verbs": ["get", "update"],
    },
]


def granted(rules: Iterable[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Verbs by (group, resource); fails on a second rule for the same thing and on anything limited or widened."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        assert rule.keys() == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) not in verbs
                verbs[group, resource] = set(rule["verbs"])
    return verbs


def named(objects: list[dict[str, Any]], kind: str) -> dict[tuple[str | None, str], dict[str, Any]]:
    return {(e["metadata"].get("namespace"), e["metadata"]["name"]): e for e in objects if e["kind"] == kind}


def test_cluster_role_must_grant_exactly_the_list(render):
    """A cluster-wide install may do what its work takes, verb by verb, and nothing else."""
    (role,) = named(render(), "ClusterRole").values()
    rules = role["rules"]
    assert rules.count(CLUSTER_ID) == 1
    assert granted(each for each in rules if each != CLUSTER_ID) == WATCHED | CLUSTER_WIDE


def test_namespaced_install_must_render_no_cluster_role(render):
    """With named namespaces the rights end at those namespaces."""
    objects = render("--set", "watch.namespaces={team-a,team-b}")
    assert not named(objects, "ClusterRole")
    assert not named(objects, "ClusterRoleBinding")
    roles = named(objects, "Role")
    assert roles.keys() == {
        ("team-a", "demo-sagebrush"),
        ("team-b", "demo-sagebrush"),
        ("ml-system", "demo-sagebrush-lease"),
    }
    for namespace in ("team-a", "team-b"):
        assert granted(roles[namespace, "demo-sagebrush"]["rules"]) == WATCHED


@pytest.mark.parametrize("arguments", [(), ("--set=watch.namespaces={team-a}",)])
def test_lease_role_must_end_at_the_operators_namespace(render, arguments):
    """Leader election takes one lease, by name, in the operator's own namespace."""
    role = named(render(*arguments), "Role")["ml-system", "demo-sagebrush-lease"]
    assert role["rules"] == LEASE


@pytest.mark.parametrize("arguments", [(), ("--set=watch.namespaces={team-a,team-b}",)])
def test_every_role_must_be_bound_to_the_operator(render, arguments):
    """Each role has its binding, of the same name and place, to the operator's service account."""
    objects = render(*arguments)
    (account,) = named(objects, "ServiceAccount")
    for kind in ("Role", "ClusterRole"):
        roles, bindings = named(objects, kind), named(objects, f"{kind}Binding")
        assert roles.keys() == bindings.keys()
        for (_, name), binding in bindings.items():
            assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account[1], "namespace": account[0]}]


def test_roles_must_be_left_out_on_request(render):
    """Where somebody else grants the rights the chart creates none."""
    objects = render("--set", "rbac.create=false")
    assert not [each for each in objects if "Role" in each["kind"]]
