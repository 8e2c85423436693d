"""What the chart renders."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = "arn:aws:iam::111122223333:role/sagebrush"


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(objects, "Deployment")
    return found


def environment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (container,) = deployment(objects)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_chart_must_pass_strict_lint(helm, chart):
    """The chart passes `helm lint --strict`."""
    done = helm("lint", "--strict", "--kube-version", "1.36.0", str(chart))
    assert done.returncode == 0, done.stdout + done.stderr


def test_old_kubernetes_must_be_refused(template):
    """A cluster without native sidecars is refused before anything is created."""
    done = template("--kube-version", "1.29.0")
    assert done.returncode != 0
    assert ">=1.30.0-0" in done.stderr


def test_default_install_must_hold_exactly_these_kinds(render):
    """A default install is these objects and no others."""
    assert sorted(each["kind"] for each in render()) == sorted(
        ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "Deployment"]
        + ["ConfigMap"]
        + ["CustomResourceDefinition"] * 2
    )


def test_operator_pod_must_meet_the_restricted_standard(render):
    """The operator runs as an ordinary user that can gain nothing and write nowhere but /tmp."""
    spec = deployment(render())["spec"]
    pod = spec["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]
    assert container["resources"]["limits"]["memory"]


def test_operator_must_run_once(render):
    """Two operators never overlap by design: one replica, the old one gone first, half a minute to leave."""
    spec = deployment(render())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_probes_must_ask_the_operators_own_port(render):
    """Health, readiness and metrics share one port, whatever its number is."""
    objects = render("--set", "controller.httpPort=9999")
    (container,) = deployment(objects)["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 9999}]
    assert {
        name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    (service,) = of_kind(objects, "Service")
    assert service["spec"]["ports"] == [{"name": "http", "port": 9999, "targetPort": "http"}]
    assert environment(objects)["SAGEBRUSH_HTTP_PORT"] == "9999"


def test_default_settings_must_reach_the_operator(render):
    """Every setting but the Prometheus, of which there is none, is in the environment, as text, with its default."""
    assert environment(render()) == {
        "SAGEBRUSH_NAMESPACES": "",
        "SAGEBRUSH_SERVER_IMAGE": "sagebrush/model-server:0.1.0",
        "SAGEBRUSH_SERVER_IMAGE_PULL_POLICY": "IfNotPresent",
        "SAGEBRUSH_SCALING_INTERVAL_SECONDS": "5",
        "SAGEBRUSH_SCALING_PODS_INTERVAL_SECONDS": "1",
        "SAGEBRUSH_SCALING_HISTORY_DAYS": "14",
        "SAGEBRUSH_SCALING_CALIBRATION_HOURS": "6",
        "SAGEBRUSH_RESYNC_SECONDS": "600",
        "SAGEBRUSH_WORKERS": "16",
        "SAGEBRUSH_SLOW_RETRY_SECONDS": "300",
        "SAGEBRUSH_LOG_LEVEL": "info",
        "SAGEBRUSH_LOG_FORMAT": "json",
        "SAGEBRUSH_HTTP_PORT": "8080",
        "SAGEBRUSH_CLUSTER_DOMAIN": "cluster.local",
        "SAGEBRUSH_AWS_REGION": "",
        "SAGEBRUSH_CLUSTER_ID": "",
        "SAGEBRUSH_SAGEMAKER_SERVER_IMAGE": "",
        "SAGEBRUSH_NAMESPACE_ROLES": "",
        "SAGEBRUSH_AWS_CALLS_PER_SECOND": "10",
        "SAGEBRUSH_AWS_BURST": "20",
        "SAGEBRUSH_SAGEMAKER_POLL_SECONDS": "15",
        "SAGEBRUSH_SAGEMAKER_STEADY_POLL_SECONDS": "60",
        "SAGEBRUSH_SAGEMAKER_WORKERS": "8",
        "SAGEBRUSH_PRICE_TABLE": "/etc/sagebrush/prices/prices.yaml",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }


def test_chosen_settings_must_reach_the_operator(render):
    """What is set in the values is what the operator gets."""
    sets = [
        "watch.namespaces={team-a,team-b}",
        "serverImage.repository=registry.example.com:5000/ml/server",
        "serverImage.tag=2.0",
        "serverImage.pullPolicy=Always",
        "prometheus.url=http://prometheus:9090",
        "scaling.intervalSeconds=15",
        "scaling.podsIntervalSeconds=3",
        "scaling.historyDays=7",
        "scaling.calibrationHours=12",
        "controller.resyncSeconds=3600",
        "controller.workers=16",
        "controller.slowRetrySeconds=60",
        "aws.region=eu-central-1",
        "aws.clusterId=production",
        "aws.serverImage=111122223333.dkr.ecr.eu-central-1.amazonaws.com/server:2.0",
        "aws.namespaceRoles.team-b=arn:aws:iam::111122223333:role/b",
        "aws.namespaceRoles.team-a=arn:aws:iam::444455556666:role/path/a",
        "aws.callsPerSecond=2",
        "aws.burst=5",
        "aws.pollSeconds=30",
        "aws.steadyPollSeconds=300",
        "aws.workers=2",
        "controller.clusterDomain=k8s.example.com",
        "logging.level=debug",
        "logging.format=text",
    ]
    values = environment(render(*(f"--set={each}" for each in sets), "--set-string=serverImage.tag=2.0"))
    assert {name: value for name, value in values.items() if isinstance(value, str)} == {
        "SAGEBRUSH_NAMESPACES": "team-a,team-b",
        "SAGEBRUSH_SERVER_IMAGE": "registry.example.com:5000/ml/server:2.0",
        "SAGEBRUSH_SERVER_IMAGE_PULL_POLICY": "Always",
        "SAGEBRUSH_PROMETHEUS_URL": "http://prometheus:9090",
        "SAGEBRUSH_SCALING_INTERVAL_SECONDS": "15",
        "SAGEBRUSH_SCALING_PODS_INTERVAL_SECONDS": "3",
        "SAGEBRUSH_SCALING_HISTORY_DAYS": "7",
        "SAGEBRUSH_SCALING_CALIBRATION_HOURS": "12",
        "SAGEBRUSH_RESYNC_SECONDS": "3600",
        "SAGEBRUSH_WORKERS": "16",
        "SAGEBRUSH_SLOW_RETRY_SECONDS": "60",
        "SAGEBRUSH_LOG_LEVEL": "debug",
        "SAGEBRUSH_LOG_FORMAT": "text",
        "SAGEBRUSH_HTTP_PORT": "8080",
        "SAGEBRUSH_CLUSTER_DOMAIN": "k8s.example.com",
        "SAGEBRUSH_AWS_REGION": "eu-central-1",
        "SAGEBRUSH_CLUSTER_ID": "production",
        "SAGEBRUSH_SAGEMAKER_SERVER_IMAGE": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/server:2.0",
        "SAGEBRUSH_NAMESPACE_ROLES": "team-a=arn:aws:iam::444455556666:role/path/a,team-b=arn:aws:iam::111122223333:role/b",
        "SAGEBRUSH_AWS_CALLS_PER_SECOND": "2",
        "SAGEBRUSH_AWS_BURST": "5",
        "SAGEBRUSH_SAGEMAKER_POLL_SECONDS": "30",
        "SAGEBRUSH_SAGEMAKER_STEADY_POLL_SECONDS": "300",
        "SAGEBRUSH_SAGEMAKER_WORKERS": "2",
        "SAGEBRUSH_PRICE_TABLE": "/etc/sagebrush/prices/prices.yaml",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }


def test_prometheus_url_must_come_from_a_secret_on_request(render, tmp_path):
    """A URL with credentials comes by extraEnv: with no URL in the values the variable is set once, from the Secret."""
    source = {"secretKeyRef": {"name": "sagebrush-prometheus", "key": "url"}}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"extraEnv": [{"name": "SAGEBRUSH_PROMETHEUS_URL", "valueFrom": source}]}))
    (container,) = deployment(render("--values", str(values)))["spec"]["template"]["spec"]["containers"]
    found = [each for each in container["env"] if each["name"] == "SAGEBRUSH_PROMETHEUS_URL"]
    assert found == [{"name": "SAGEBRUSH_PROMETHEUS_URL", "valueFrom": source}]


def test_digest_must_win_over_tag(render):
    """An image pinned by digest is named by digest only."""
    digest = "sha256:" + "ab" * 32
    objects = render("--set", f"image.digest={digest}", "--set", "image.tag=ignored")
    assert deployment(objects)["spec"]["template"]["spec"]["containers"][0]["image"] == f"sagebrush/operator@{digest}"


def test_pod_extras_must_reach_the_pod(render, tmp_path):
    """Placement, annotations, labels, pull secrets and variables are taken over as given; the chart's own labels stay."""
    extras = {
        "podAnnotations": {"example.com/a": "1"},
        "podLabels": {"team": "ml", "app.kubernetes.io/managed-by": "sagebrush"},
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "extraEnv": [
            {"name": "AWS_REGION", "value": "eu-central-1"},
            {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "aws", "key": "id"}}},
        ],
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(extras))
    objects = render("--values", str(values))
    template = deployment(objects)["spec"]["template"]
    assert template["metadata"]["annotations"] == extras["podAnnotations"]
    assert template["metadata"]["labels"]["team"] == "ml"
    assert template["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    for name in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity"):
        assert template["spec"][name] == extras[name]
    assert template["spec"]["containers"][0]["env"][-2:] == extras["extraEnv"]


def test_service_account_must_carry_its_annotations(render):
    """A cloud identity is bound by an annotation of the service account."""
    (account,) = of_kind(
        render("--set", r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:x"), "ServiceAccount"
    )
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:x"}


@pytest.mark.parametrize(("name", "expected"), [("", "default"), ("mine", "mine")])
def test_existing_service_account_must_be_used_everywhere(render, name, expected):
    """With an account from elsewhere none is created, and the pod and the bindings name that one."""
    objects = render("--set", "serviceAccount.create=false", "--set", f"serviceAccount.name={name}")
    assert not of_kind(objects, "ServiceAccount")
    assert deployment(objects)["spec"]["template"]["spec"]["serviceAccountName"] == expected
    bindings = of_kind(objects, "ClusterRoleBinding") + of_kind(objects, "RoleBinding")
    assert {each["subjects"][0]["name"] for each in bindings} == {expected}


def test_crds_must_be_the_generated_ones_and_stay(render, chart: Path):
    """The chart's CRDs are those in crds/, with the annotation that keeps them when the release is uninstalled."""
    rendered = {each["metadata"]["name"]: each for each in of_kind(render(), "CustomResourceDefinition")}
    sources = [yaml.safe_load(path.read_text()) for path in sorted((chart.parents[1] / "crds").glob("*.yaml"))]
    assert rendered.keys() == {each["metadata"]["name"] for each in sources}
    for source in sources:
        crd = rendered[source["metadata"]["name"]]
        assert crd["spec"] == source["spec"]
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert crd["metadata"]["labels"].items() >= source["metadata"].get("labels", {}).items()


def test_crds_must_be_left_out_on_request(render):
    """People without cluster-wide rights install without CRDs."""
    assert not of_kind(render("--set", "crds.install=false"), "CustomResourceDefinition")


@pytest.mark.parametrize("switch", ["serviceMonitor", "podMonitor"])
def test_monitors_must_appear_only_when_switched_on(render, switch):
    """Kinds of the Prometheus Operator are rendered only where asked for, one switch each."""
    monitors = {"ServiceMonitor", "PodMonitor"}
    assert not [each for each in render() if each["kind"] in monitors]
    objects = render("--set", f"monitoring.{switch}.enabled=true", "--set", f"monitoring.{switch}.labels.release=prom")
    (monitor,) = [each for each in objects if each["kind"] in monitors]
    assert monitor["kind"] == switch[0].upper() + switch[1:]
    assert monitor["metadata"]["labels"]["release"] == "prom"


@pytest.mark.parametrize(
    ("arguments", "namespaces"),
    [((), {"any": True}), (("--set=watch.namespaces={a,b}",), {"matchNames": ["a", "b"]})],
)
def test_pod_monitor_must_cover_the_watched_namespaces(render, arguments, namespaces):
    """Model servers are scraped by port name wherever the operator may start them, and nowhere else."""
    enabled = ("--set", "monitoring.podMonitor.enabled=true", "--set", "monitoring.podMonitor.interval=2s")
    (monitor,) = of_kind(render(*enabled, *arguments), "PodMonitor")
    assert monitor["spec"] == {
        "namespaceSelector": namespaces,
        "selector": {"matchLabels": {"app.kubernetes.io/managed-by": "sagebrush"}},
        "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "2s"}],
    }


def test_service_monitor_must_select_the_metrics_service(render):
    """The operator's ServiceMonitor finds its Service by labels and port name."""
    objects = render("--set", "monitoring.serviceMonitor.enabled=true")
    (monitor,), (service,) = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    pod_labels = deployment(objects)["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod_labels.items()


def test_service_monitor_must_keep_the_metrics_own_labels(render):
    """Metrics of endpoints keep their `namespace` and `endpoint`, which the target's labels would otherwise replace."""
    (monitor,) = of_kind(render("--set", "monitoring.serviceMonitor.enabled=true"), "ServiceMonitor")
    assert monitor["spec"]["endpoints"] == [
        {"port": "http", "path": "/metrics", "interval": "30s", "honorLabels": True}
    ]


def test_operator_must_understand_every_setting(render):
    """The chart sets every variable that the operator reads, and the operator takes each value as it stands."""
    import argparse

    from sagebrush.config import Settings, settings_from

    sets = ("prometheus.url=http://prometheus:9090", f"aws.namespaceRoles.team-a={ROLE}", "aws.clusterId=production")
    values = environment(render(*(f"--set={each}" for each in sets)))
    given = {name: value for name, value in values.items() if isinstance(value, str)}
    read = {f"SAGEBRUSH_{name}".upper() for name in Settings.model_fields if not name.startswith("pod_")}
    not_for_users = {"SAGEBRUSH_LEADER_ELECTION", "SAGEBRUSH_AWS_CLOCK"}
    assert {name for name in given if name.startswith("SAGEBRUSH_")} == read - not_for_users
    assert settings_from(argparse.Namespace(), given).roles_by_namespace() == {"team-a": ROLE}
    settings_from(
        argparse.Namespace(), {name: value for name, value in environment(render()).items() if isinstance(value, str)}
    )
