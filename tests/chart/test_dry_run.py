"""The chart against a real API server, which checks every field, every CEL rule and every right."""

import json

import pytest

OPERATOR = "system:serviceaccount:ml-system:demo-sagebrush"
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
        "--set=aws.credentials.roleArn=arn:aws:iam::111122223333:role/sagebrush",
        "--set=aws.clusterId=production",
    ],
    "keys in a Secret": ["--set=aws.credentials.secretName=aws-keys"],
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


@pytest.mark.usefixtures("crds", "namespaces")
def test_namespaced_rights_must_end_at_the_watched_namespaces(apiserver, kubectl, template, may, wait_may):
    """The operator of a namespaced install can work in those namespaces, hold its lease, and do nothing elsewhere."""
    rendered = template("--set=watch.namespaces={team-a,team-b}", "--show-only=templates/rbac.yaml")
    assert kubectl(apiserver, "apply", "-f", "-", stdin=rendered.stdout).returncode == 0

    def denied(verb: str, resource: str, namespace: str) -> bool:
        return not may(apiserver, verb, resource, namespace=namespace, who=OPERATOR)

    # First what is granted, each by a role of its own, and then, when all are heeded, what is not.
    for namespace in ("team-a", "team-b"):
        for verb, resource in (
            ("patch", "deployments.apps"),
            ("patch", "modelendpoints.sagebrush.dev"),
            ("delete", "jobs.batch"),
        ):
            wait_may(apiserver, verb, resource, namespace=namespace, who=OPERATOR)
    wait_may(apiserver, "update", "leases.coordination.k8s.io/sagebrush-operator", namespace="ml-system", who=OPERATOR)
    for namespace in ("team-a", "team-b"):
        assert denied("update", "modelendpoints.sagebrush.dev", namespace)
        assert denied("delete", "modelendpoints.sagebrush.dev", namespace)
        assert denied("delete", "deployments.apps", namespace)
        assert denied("get", "secrets", namespace)
        assert denied("delete", "pods", namespace)
        assert denied("get", "leases.coordination.k8s.io/sagebrush-operator", namespace)
    assert denied("update", "leases.coordination.k8s.io/another", "ml-system")
    assert denied("list", "deployments.apps", "ml-system")
    assert denied("list", "deployments.apps", "team-c")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["the whole cluster", "not configured"]),
        (
            ("--set=watch.namespaces={a,b}", "--set=prometheus.url=http://prom:9090", "--set=crds.install=false"),
            ["namespaces a, b", "http://prom:9090", "crds.install=false"],
        ),
        (("--set=extraEnv[0].name=SAGEBRUSH_PROMETHEUS_URL",), ["Prometheus  by extraEnv"]),
        (
            ("--set=aws.credentials.roleArn=arn:aws:iam::111122223333:role/x",),
            ["arn:aws:iam::111122223333:role/x, by IRSA"],
        ),
        (("--set=aws.credentials.podIdentity=true",), ["must show ml-system/notes-sagebrush"]),
        (("--set=aws.credentials.secretName=keys",), ["Secret keys, which must exist in namespace ml-system"]),
        (("--set=watch.namespaces={a}",), ["see aws.credentials", "and aws.clusterId"]),
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
def test_a_team_must_install_with_what_an_administrator_prepared(apiserver, kubectl, helm, template, chart, wait_may):
    """Roles can be created only by somebody who holds the rights; with roles and CRDs there, a namespace's admin does the rest."""
    place = "--namespace=team-c"
    # What the built-in ClusterRole `admin` would grant; nobody fills that one in without a controller manager.
    kinds = "secrets,configmaps,services,serviceaccounts,deployments.apps,roles,rolebindings"
    verbs = "get,list,watch,create,update,patch,delete"
    for binding in (
        ("role", "alice", f"--verb={verbs}", f"--resource={kinds}"),
        ("rolebinding", "alice", "--role=alice", "--user=alice"),
    ):
        made = kubectl(apiserver, "create", *binding, place)
        assert made.returncode == 0, made.stderr
    wait_may(apiserver, "create", "rolebindings.rbac.authorization.k8s.io", namespace="team-c", who="alice")
    roles = template("--set=watch.namespaces={team-c}", place, "--show-only=templates/rbac.yaml").stdout

    refused = kubectl(apiserver, "apply", "--as=alice", "-f", "-", stdin=roles)
    assert refused.returncode != 0
    assert "is attempting to grant RBAC permissions not currently held" in refused.stderr

    assert kubectl(apiserver, "apply", "-f", "-", stdin=roles).returncode == 0
    server = (place, f"--kubeconfig={apiserver.kubeconfig}", "--kube-as-user=alice", "--set=watch.namespaces={team-c}")
    installed = helm("install", "demo", str(chart), *server, "--set=crds.install=false", "--set=rbac.create=false")
    assert installed.returncode == 0, installed.stderr


@pytest.mark.usefixtures("crds", "namespaces")
def test_sagemaker_examples_must_be_taken(apiserver, kubectl, chart):
    """What docs/sagemaker.md tells to apply keeps to the schema and its rules, as it stands."""
    folder = chart.parents[1] / "examples/kdd/sagemaker"
    arguments = ("--dry-run=server", "--validate=strict", "--namespace=team-a", "-f", str(folder))
    done = kubectl(apiserver, "apply", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("created") == 2


@pytest.mark.usefixtures("crds", "namespaces")
def test_operator_must_be_able_to_hold_an_object_and_to_make_none(apiserver, kubectl, template, chart, wait_may):
    """Server-side apply with the operator's rights puts a finalizer on and takes it away; it can't bring back what is gone."""
    rendered = template("--set=watch.namespaces={team-b}", "--show-only=templates/rbac.yaml")
    assert kubectl(apiserver, "apply", "-f", "-", stdin=rendered.stdout).returncode == 0
    wait_may(apiserver, "patch", "trainingjobs.sagebrush.dev", namespace="team-b", who=OPERATOR)
    place = "--namespace=team-b"
    example = chart.parents[1] / "examples/kdd/sagemaker/training-job.yaml"
    created = kubectl(apiserver, "create", place, "-f", str(example), "--output=json")
    assert created.returncode == 0, created.stderr
    uid = json.loads(created.stdout)["metadata"]["uid"]

    def applied(name: str, *finalizers: str):
        body = {"apiVersion": "sagebrush.dev/v1alpha1", "kind": "TrainingJob"}
        manifest = json.dumps(body | {"metadata": {"name": name, "uid": uid, "finalizers": finalizers}})
        who = (f"--as={OPERATOR}", "--field-manager=sagebrush")
        return kubectl(apiserver, "apply", "--server-side", "--validate=false", place, *who, "-f", "-", stdin=manifest)

    def held() -> list[str]:
        found = json.loads(kubectl(apiserver, "get", "trainingjob", "kdd", place, "--output=json").stdout)
        return found["metadata"].get("finalizers", [])

    assert (applied("kdd", "sagebrush.dev/sagemaker").stderr, held()) == ("", ["sagebrush.dev/sagemaker"])
    assert (applied("kdd").stderr, held()) == ("", [])
    assert kubectl(apiserver, "delete", "trainingjob", "kdd", place).returncode == 0
    refused = applied("kdd", "sagebrush.dev/sagemaker")
    assert refused.returncode != 0
    assert "uid mismatch" in refused.stderr
