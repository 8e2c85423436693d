"""The chart against a real API server, which checks every field, every CEL rule and every right."""

import json

import pytest

VARIANTS = {
    "cluster-wide": [],
    "namespaced": ["--set=watch.namespaces={team-a,team-b}"],
    "everything": [
        "--set=serviceAccount.annotations.a=b",
        "--set=podAnnotations.a=b",
        "--set=podLabels.team=ml",
        "--set=imagePullSecrets[0].name=registry",
        "--set=nodeSelector.pool=system",
        "--set=tolerations[0].operator=Exists",
        "--set=extraEnv[0].name=AWS_REGION",
        "--set=extraEnv[0].value=eu-central-1",
        "--set=prometheus.url=http://prometheus:9090",
    ],
}


@pytest.fixture
def namespaces(apiserver, kubectl) -> None:
    """The namespaces that the installs below name; they warn of pods below the restricted standard."""
    labels = {"pod-security.kubernetes.io/warn": "restricted"}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name in ("ml-system", "team-a", "team-b", "team-c")
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    done = kubectl(apiserver, "apply", "-f", "-", stdin=manifest)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.usefixtures("namespaces")
def test_api_server_must_take_every_object(apiserver, kubectl, template, arguments):
    """The API server takes all objects of the chart as they are, without a warning."""
    rendered = template(*arguments)
    assert rendered.returncode == 0, rendered.stderr
    done = kubectl(apiserver, "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered.stdout)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("namespaces")
def test_crds_must_outlive_the_release(apiserver, kubectl, helm, chart):
    """Uninstalling removes the operator and leaves the CRDs, and with them every object; installing again takes them over."""
    release = ["demo", "--namespace=ml-system", f"--kubeconfig={apiserver.kubeconfig}"]
    for _ in range(2):
        installed = helm("install", *release, str(chart), "--take-ownership")
        assert installed.returncode == 0, installed.stderr
        upgraded = helm("upgrade", *release, str(chart), "--set=logging.level=debug")
        assert upgraded.returncode == 0, upgraded.stderr
        removed = helm("uninstall", *release)
        assert removed.returncode == 0, removed.stderr
        crds = kubectl(apiserver, "get", "customresourcedefinitions", "--output=name").stdout
        assert "trainingjobs.sagebrush.dev" in crds
        assert "modelendpoints.sagebrush.dev" in crds
        assert "demo-sagebrush" not in kubectl(apiserver, "get", "clusterroles,deployments", "-A").stdout


@pytest.mark.usefixtures("namespaces")
def test_namespaced_rights_must_end_at_the_watched_namespaces(apiserver, kubectl, template):
    """The operator of a namespaced install can work in those namespaces, hold its lease, and do nothing elsewhere."""
    rendered = template("--set=watch.namespaces={team-a,team-b}", "--show-only=templates/rbac.yaml")
    assert kubectl(apiserver, "apply", "-f", "-", stdin=rendered.stdout).returncode == 0

    def may(verb: str, resource: str, namespace: str) -> bool:
        who = "--as=system:serviceaccount:ml-system:demo-sagebrush"
        answer = kubectl(apiserver, "auth", "can-i", verb, resource, f"--namespace={namespace}", who)
        assert answer.stdout.strip() in {"yes", "no"}, answer.stderr
        return answer.stdout.strip() == "yes"

    for namespace in ("team-a", "team-b"):
        assert may("patch", "deployments.apps", namespace)
        assert may("delete", "jobs.batch", namespace)
        assert not may("delete", "deployments.apps", namespace)
        assert not may("get", "secrets", namespace)
        assert not may("delete", "pods", namespace)
        assert not may("get", "leases.coordination.k8s.io/sagebrush-operator", namespace)
    assert may("update", "leases.coordination.k8s.io/sagebrush-operator", "ml-system")
    assert not may("update", "leases.coordination.k8s.io/another", "ml-system")
    assert not may("list", "deployments.apps", "ml-system")
    assert not may("list", "deployments.apps", "team-c")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["the whole cluster", "not configured"]),
        (
            ("--set=watch.namespaces={a,b}", "--set=prometheus.url=http://prom:9090", "--set=crds.install=false"),
            ["namespaces a, b", "http://prom:9090", "crds.install=false"],
        ),
        (("--set=extraEnv[0].name=SAGEBRUSH_PROMETHEUS_URL",), ["Prometheus  by extraEnv"]),
    ],
)
@pytest.mark.usefixtures("namespaces")
def test_notes_must_say_what_was_installed(apiserver, helm, chart, arguments, expected):
    """The notes name the watched namespaces, the Prometheus and the next command."""
    server = ("--namespace=ml-system", f"--kubeconfig={apiserver.kubeconfig}", "--dry-run=server", "--take-ownership")
    done = helm("install", "notes", str(chart), *server, *arguments)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    for text in [*expected, "rollout status deployment/notes-sagebrush"]:
        assert text in notes


@pytest.mark.usefixtures("namespaces")
def test_a_team_must_install_with_what_an_administrator_prepared(apiserver, kubectl, helm, template, chart):
    """Roles can be created only by somebody who holds the rights; with roles and CRDs there, a namespace's admin does the rest."""
    place = "--namespace=team-c"
    # What the built-in ClusterRole `admin` would grant; nobody fills that one in without a controller manager.
    kinds = "secrets,services,serviceaccounts,deployments.apps,roles,rolebindings"
    verbs = "get,list,watch,create,update,patch,delete"
    for binding in (
        ("role", "alice", f"--verb={verbs}", f"--resource={kinds}"),
        ("rolebinding", "alice", "--role=alice", "--user=alice"),
    ):
        made = kubectl(apiserver, "create", *binding, place)
        assert made.returncode == 0, made.stderr
    roles = template("--set=watch.namespaces={team-c}", place, "--show-only=templates/rbac.yaml").stdout

    refused = kubectl(apiserver, "apply", "--as=alice", "-f", "-", stdin=roles)
    assert refused.returncode != 0
    assert "is attempting to grant RBAC permissions not currently held" in refused.stderr

    assert kubectl(apiserver, "apply", "-f", "-", stdin=roles).returncode == 0
    server = (place, f"--kubeconfig={apiserver.kubeconfig}", "--kube-as-user=alice", "--set=watch.namespaces={team-c}")
    installed = helm("install", "demo", str(chart), *server, "--set=crds.install=false", "--set=rbac.create=false")
    assert installed.returncode == 0, installed.stderr
