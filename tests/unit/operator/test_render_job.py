"""TrainingJob to Job: docs/contract.md, the training side."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.core.render import job, pod
from sagebrush.core.resource import Manifest, dig
from tests.unit.operator.builders import META, job_spec


def rendered(**more: Any) -> Manifest:
    return job.render(
        META, job_spec(**more), agent_image="server:1", pull_policy="Never", cluster_domain="cluster.local"
    )


def parts(manifest: Manifest) -> dict[str, Manifest]:
    spec = manifest["spec"]["template"]["spec"]
    return {container["name"]: container for container in (*spec["initContainers"], *spec["containers"])}


def env(container: Manifest) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}


def train_env(**more: Any) -> dict[str, Any]:
    return env(parts(rendered(**more))["train"])


def test_job_must_speak_the_contract() -> None:
    """fetch, agent and train as docs/contract.md has them."""
    made = rendered(maxRuntime="1h", output={"uri": "s3://bucket/output", "uploadTimeout": "5m"})
    found = parts(made)
    template = made["spec"]["template"]["spec"]
    assert ["sagebrush-server", "fetch-channels"] == found["fetch"]["command"]
    assert ["sagebrush-server", "upload-artifacts"] == found["agent"]["command"]
    assert "Always" == found["agent"]["restartPolicy"]
    assert ["train"] == found["train"]["args"]
    assert "/opt/ml/output/failure" == found["train"]["terminationMessagePath"]
    assert "FallbackToLogsOnError" == found["train"]["terminationMessagePolicy"]
    assert {"/opt/ml/input", "/opt/ml/model", "/opt/ml/output", "/tmp"} == {
        m["mountPath"] for m in found["train"]["volumeMounts"]
    }
    assert 3600 == template["activeDeadlineSeconds"]
    assert 120 + 300 == template["terminationGracePeriodSeconds"]
    assert ("Never", 0, "NonIndexed", 1) == (
        template["restartPolicy"],
        made["spec"]["backoffLimit"],
        made["spec"]["completionMode"],
        made["spec"]["completions"],
    )
    assert {"server:1"} == {container["image"] for container in found.values()}


def test_training_plan_must_be_the_document_of_the_contract() -> None:
    """fetch and agent read exactly this JSON."""
    found = parts(rendered(hyperParameters={"predictor_type": "binary_classifier"}))
    expected = {
        "jobName": "kdd",
        "algorithm": "linear-learner",
        "hyperParameters": {"predictor_type": "binary_classifier"},
        "channels": [
            {
                "name": "train",
                "uri": "s3://bucket/train",
                "compression": "None",
                "recordWrapper": "None",
                "inputMode": "File",
                "distribution": "FullyReplicated",
            }
        ],
        "hosts": ["algo-1"],
        "output": {"uri": "s3://bucket/output", "uploadTimeoutSeconds": 600},
    }
    for name in ("fetch", "agent"):
        assert expected == json.loads(env(found[name])["SAGEBRUSH_TRAINING_PLAN"].replace("$$", "$"))


def test_own_image_must_take_the_place_of_train_only() -> None:
    """fetch and agent are always ours; the plan then names no algorithm."""
    found = parts(rendered(algorithm={"image": "mine:2", "imagePullPolicy": "Always"}))
    assert ("mine:2", "Always") == (found["train"]["image"], found["train"]["imagePullPolicy"])
    assert ("server:1", "Never") == (found["fetch"]["image"], found["fetch"]["imagePullPolicy"])
    assert "algorithm" not in json.loads(env(found["fetch"])["SAGEBRUSH_TRAINING_PLAN"])
    assert "securityContext" not in found["train"]
    assert 0 == found["agent"]["securityContext"]["runAsUser"]
    assert "SAGEBRUSH_ALGORITHM" not in env(found["train"])


def test_our_code_must_be_restricted() -> None:
    """Beside a built-in algorithm nothing runs as root, writes its root or keeps a capability."""
    for container in parts(rendered()).values():
        assert pod.restricted() == container["securityContext"]
    spec = rendered()["spec"]["template"]["spec"]
    assert "RuntimeDefault" == spec["securityContext"]["seccompProfile"]["type"]
    assert spec["automountServiceAccountToken"] is False


def test_entrypoint_and_arguments_must_replace_the_images() -> None:
    """SageMaker's ContainerEntrypoint and ContainerArguments."""
    train = parts(rendered(algorithm={"image": "m", "entrypoint": ["python", "$(X)"], "arguments": ["a", "b$"]}))[
        "train"
    ]
    assert ["python", "$$(X)"] == train["command"]
    assert ["a", "b$$"] == train["args"]


def expanded(text: str, values: dict[str, str]) -> str:
    """Kubernetes' expansion (k8s.io/kubernetes third_party/forked/golang/expansion), step by step."""
    out, cursor = "", 0
    while cursor < len(text):
        rest = text[cursor + 1 :]
        if text[cursor] != "$" or not rest:
            out, cursor = out + text[cursor], cursor + 1
        elif rest[0] == "$":
            out, cursor = out + "$", cursor + 2
        elif rest[0] == "(" and ")" in rest:
            name = rest[1 : rest.index(")")]
            out, cursor = out + values.get(name, f"$({name})"), cursor + len(name) + 3
        else:
            out, cursor = out + "$" + rest[0], cursor + 2
    return out


@settings(deadline=None)
@given(st.text("$()AX ", max_size=12))
def test_literal_must_survive_the_kubelet(text: str) -> None:
    """Whatever a user writes reaches the container as written: $(X), $$, $$(X)."""
    assert text == expanded(pod.literal(text), {"A": "wrong", "X": "wrong"})


@pytest.mark.parametrize(
    ("given_", "name", "expected"),
    [
        ({"k": "5"}, "SM_HP_K", "5"),
        ({"lr": "0.10"}, "SM_HP_LR", "0.1"),
        ({"flag": "true"}, "SM_HP_FLAG", "true"),
        ({"name": "adam"}, "SM_HP_NAME", "adam"),
        ({"quoted": '"reg:squarederror"'}, "SM_HP_QUOTED", "reg:squarederror"),
        ({"none": "null"}, "SM_HP_NONE", ""),
        ({"list": "[1, 2]"}, "SM_HP_LIST", "[1,2]"),
        ({"mini-batch": "9"}, "SM_HP_MINI-BATCH", "9"),
        ({"9lives": "9"}, "SM_HP_9LIVES", "9"),
        ({"deep": "[" * 2000}, "SM_HP_DEEP", "[" * 2000),
        ({"v": "$(HOME)"}, "SM_HP_V", "$$(HOME)"),
        ({"b": "2", "a": "x"}, "SM_HPS", '{"a":"x","b":2}'),
    ],
)
def test_hyperparameters_must_be_as_the_toolkit_sets_them(given_: dict[str, str], name: str, expected: str) -> None:
    """SM_HP_<NAME>: decoded where it is JSON, strings as they are, the rest compact; null is empty."""
    assert expected == train_env(hyperParameters=given_)[name]


def test_reserved_hyperparameters_must_be_left_out() -> None:
    """What SageMaker keeps for itself is no argument of the script."""
    found = train_env(
        hyperParameters={"sagemaker_program": "x.py", "_tuning_objective_metric": "m", "k": "1", "a=b": "1"}
    )
    assert '{"a=b":1,"k":1}' == found["SM_HPS"]
    assert ["SM_HPS", "SM_HP_K"] == sorted(name for name in found if name.startswith("SM_HP"))


def test_channels_must_be_named() -> None:
    """SM_CHANNELS and a folder for each, whatever its name begins with."""
    channels = [{"name": name, "uri": "s3://b/x"} for name in ("validation", "1st")]
    found = train_env(channels=channels)
    assert '["1st","validation"]' == found["SM_CHANNELS"]
    assert "/opt/ml/input/data/validation" == found["SM_CHANNEL_VALIDATION"]
    assert "/opt/ml/input/data/1st" == found["SM_CHANNEL_1ST"]


def test_environment_must_have_the_contract_s_names() -> None:
    """Every variable that docs/contract.md promises is there."""
    names = "TRAINING_JOB_NAME SM_HOSTS SM_CURRENT_HOST SM_NETWORK_INTERFACE_NAME SM_HPS SM_CHANNELS SM_MODEL_DIR SM_OUTPUT_DIR SM_OUTPUT_DATA_DIR SM_INPUT_DIR SM_INPUT_CONFIG_DIR SM_CURRENT_INSTANCE_TYPE SM_NUM_CPUS SM_NUM_GPUS SAGEBRUSH_ALGORITHM"
    found = train_env(cluster={"resources": {"limits": {"nvidia.com/gpu": "2"}}})
    assert [] == [name for name in names.split() if name not in found]
    assert ("algo-1", "2", "kdd") == (found["SM_CURRENT_HOST"], found["SM_NUM_GPUS"], found["TRAINING_JOB_NAME"])


def test_users_environment_must_win() -> None:
    """A variable of the user's replaces ours of the same name, the computed ones too."""
    wanted = {"SM_NUM_CPUS": "3", "SM_CURRENT_HOST": "me", "SM_MODEL_DIR": "/m", "OWN": "$(HOME)"}
    document = [{"name": name, "value": value} for name, value in wanted.items()]
    train = parts(rendered(environment=document))["train"]
    assert {**wanted, "OWN": "$$(HOME)"} == {name: value for name, value in env(train).items() if name in wanted}
    assert len(train["env"]) == len(env(train))


def test_several_instances_must_be_an_indexed_job() -> None:
    """Hosts algo-1 … algo-n, found by name, each told who it is by the file that fetch writes."""
    made = rendered(instanceCount=3)
    assert ("Indexed", 3, 3) == tuple(made["spec"][key] for key in ("completionMode", "completions", "parallelism"))
    assert ["kdd-hosts.demo.svc.cluster.local"] == made["spec"]["template"]["spec"]["dnsConfig"]["searches"]
    found = env(parts(made)["train"])
    assert '["algo-1","algo-2","algo-3"]' == found["SM_HOSTS"]
    assert {"volumeName": "ml", "path": "env/host.env", "key": "SM_CURRENT_HOST"} == found["SM_CURRENT_HOST"][
        "fileKeyRef"
    ]
    service = job.render_service(META)
    assert ("None", None) == (service["spec"]["clusterIP"], service["spec"].get("selector"))


def test_endpoint_slice_must_name_the_hosts() -> None:
    """Index i is algo-<i+1>; the address type follows the addresses, and stays what it is once chosen."""
    made = job.render_endpoint_slice(META, {1: "10.0.0.2", 0: "10.0.0.1"})
    assert [("algo-1", ["10.0.0.1"]), ("algo-2", ["10.0.0.2"])] == [
        (e["hostname"], e["addresses"]) for e in made["endpoints"]
    ]
    assert "kdd-hosts" == made["metadata"]["labels"]["kubernetes.io/service-name"]
    six = job.render_endpoint_slice(META, {0: "fd00::1"})
    assert ("IPv4", "IPv6") == (made["addressType"], six["addressType"])
    assert "IPv6" == job.render_endpoint_slice(META, {}, existing=six)["addressType"]


def test_claims_must_be_mounted_for_fetch_and_agent() -> None:
    """pvc://claim/path lies at /mnt/sagebrush/pvc/<claim>: fetch only reads, agent only has the output, train sees none."""
    made = rendered(
        channels=[{"name": "train", "uri": "pvc://data/a"}, {"name": "test", "uri": "pvc://data/b"}],
        output={"uri": "pvc://out/x"},
    )
    spec = made["spec"]["template"]["spec"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
    }
    assert ["data", "out"] == sorted(claims.values())
    mounts = {
        name: [
            (claims[m["name"]], m["mountPath"], m.get("readOnly", False))
            for m in part["volumeMounts"]
            if m["name"] in claims
        ]
        for name, part in parts(made).items()
    }
    assert {
        "fetch": [("data", "/mnt/sagebrush/pvc/data", True)],
        "agent": [("out", "/mnt/sagebrush/pvc/out", False)],
        "train": [],
    } == mounts
    assert 65532 == spec["securityContext"]["fsGroup"], "a fresh block volume belongs to root"


def test_placement_must_reach_the_pod() -> None:
    """Node selector, tolerations, service account, pull secrets and the storage secret are honoured."""
    cluster = {
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "registry"}],
        "storageSecretName": "store",
        "resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}},
    }
    made = rendered(cluster=cluster)
    spec = made["spec"]["template"]["spec"]
    assert {"gpu": "yes"} == spec["nodeSelector"]
    assert [{"key": "gpu", "operator": "Exists"}] == spec["tolerations"]
    assert ("robot", [{"name": "registry"}]) == (spec["serviceAccountName"], spec["imagePullSecrets"])
    assert {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}} == parts(made)["train"]["resources"]
    assert [{"secretRef": {"name": "store", "optional": True}}] == parts(made)["fetch"]["envFrom"]
    assert dig(parts(made)["train"], "envFrom") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", "500m"), ("1000m", "1"), ("1500m", "1500m"), ("2000", "2k"), ("1024", "1024"), ("100", "100"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.25Gi", "256Mi"), ("512Mi", "512Mi"), ("1Ti", "1Ti"),
        ("1000k", "1M"), ("0", "0"), ("0Gi", "0"), ("0.0001", "100u"), ("1024Ti", "1Pi"),
    ],
)  # fmt: skip
def test_quantity_must_be_canonical(text: str, expected: str) -> None:
    """Rendered as the API server writes it back; else the stored object would differ from the rendered one for ever."""
    assert expected == pod.canonical_quantity(text)
    assert expected == pod.canonical_quantity(expected)
