"""Clients that others wrote, against the server as a process: boto3, Triton's client, curl; and docs/serving.md."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import orjson
import pytest
import tritonclient.http as triton
from botocore.config import Config
from botocore.exceptions import ClientError

from sagebrush_server.models.loading import load_model
from tests.contract.serving import FEATURES, ServerProcess, serving, train_linear_model

ROWS = np.random.default_rng(3).normal(size=(5, FEATURES)).round(3)
CSV = "\n".join(",".join(map(str, row)) for row in ROWS.tolist()).encode()
JSON = orjson.dumps({"instances": [{"features": row} for row in ROWS.tolist()]})
LINES = b"\n".join(orjson.dumps({"features": row}) for row in ROWS.tolist())
SVM = "\n".join(
    "0 " + " ".join(f"{column}:{value}" for column, value in enumerate(row)) for row in ROWS.tolist()
).encode()

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
EXAMPLES = re.findall(r"^```(sh multi-model|sh|python)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("ml")
    train_linear_model(base)
    return base


@pytest.fixture(scope="module")
def server(base) -> Iterator[ServerProcess]:
    with serving(base, SAGEBRUSH_ENDPOINT_NAME="kdd") as running:
        yield running


@pytest.fixture(scope="module")
def many(base) -> Iterator[ServerProcess]:
    """A multi-model server with the same model under two names."""
    for name in ("first", "second"):
        shutil.copytree(base / "model", base / "models" / name)
    with serving(base, SAGEMAKER_MULTI_MODEL="true", SAGEBRUSH_MODEL_CACHE_COUNT="1") as running:
        yield running


@pytest.fixture(scope="module")
def expected(base) -> dict[str, Any]:
    """What the model itself says of the rows."""
    columns = load_model(base / "model").predict(ROWS).columns
    return {name: values.tolist() for name, values in columns.items()}


# --- boto3 ---


def sagemaker_runtime(server: ServerProcess) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="eu-central-1",
        aws_access_key_id="anybody",
        aws_secret_access_key="anything",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
    )


def test_boto3_must_invoke_the_endpoint(server, expected):
    """InvokeEndpoint works with no more than the server's address."""
    reply = sagemaker_runtime(server).invoke_endpoint(
        EndpointName="kdd",
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="tenant=a",
        InferenceId="request-1",
        Body=JSON,
    )
    predictions = orjson.loads(reply["Body"].read())["predictions"]
    assert [row["score"] for row in predictions] == pytest.approx(expected["score"])
    assert [row["predicted_label"] for row in predictions] == expected["predicted_label"]
    assert reply["CustomAttributes"] == "tenant=a"
    assert reply["InvokedProductionVariant"] == "AllTraffic"


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"Body": b"1,2"}, "ModelError", 424),
        ({"ContentType": "image/png"}, "ModelError", 424),
        ({"EndpointName": "other"}, "ValidationError", 400),
        ({"TargetModel": "first"}, "ValidationError", 400),
    ],
)
def test_boto3_must_raise_the_errors_that_aws_has(server, change, code, status):
    """Clients that tell AWS' errors apart go on working."""
    call = {"EndpointName": "kdd", "ContentType": "text/csv", "Body": CSV, **change}
    with pytest.raises(ClientError) as raised:
        sagemaker_runtime(server).invoke_endpoint(**call)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_boto3_must_read_the_response_stream(server):
    """InvokeEndpointWithResponseStream brings the same body in parts."""
    client = sagemaker_runtime(server)
    call = {"EndpointName": "kdd", "ContentType": "text/csv", "Accept": "text/csv", "Body": CSV}
    streamed = client.invoke_endpoint_with_response_stream(**call)
    whole = client.invoke_endpoint(**call)
    parts = [event["PayloadPart"]["Bytes"] for event in streamed["Body"]]
    assert b"".join(parts) == whole["Body"].read()
    assert streamed["ContentType"] == "text/csv"


def test_boto3_must_choose_a_model(many, expected):
    """TargetModel names a folder; with room for one model the other goes and comes back."""
    client = sagemaker_runtime(many)
    for name in ("first", "second", "first"):
        reply = client.invoke_endpoint(
            EndpointName="any", TargetModel=name, ContentType="text/csv", Accept="application/json", Body=CSV
        )
        predictions = orjson.loads(reply["Body"].read())["predictions"]
        assert [row["predicted_label"] for row in predictions] == expected["predicted_label"]
    with pytest.raises(client.exceptions.ValidationError, match="third"):
        client.invoke_endpoint(EndpointName="any", TargetModel="third", ContentType="text/csv", Body=CSV)


# --- the Open Inference Protocol ---


@pytest.fixture(scope="module")
def triton_client(server) -> Iterator[Any]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", network_timeout=20.0)
    yield client
    client.close()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("outputs", ["all", "binary", "json"])
def test_triton_client_must_get_the_models_answer(triton_client, expected, binary_in, outputs):
    """Triton's client, whose default is binary, reads names, types and values of all outputs."""
    tensor = triton.InferInput("x", list(ROWS.shape), "FP64")
    tensor.set_data_from_numpy(ROWS, binary_data=binary_in)
    wanted = None
    if outputs != "all":
        wanted = [triton.InferRequestedOutput(name, binary_data=outputs == "binary") for name in expected]
    result = triton_client.infer("kdd", [tensor], outputs=wanted, request_id="42")
    assert result.get_response()["id"] == "42"
    assert result.as_numpy("score").tolist() == pytest.approx(expected["score"])
    assert result.as_numpy("predicted_label").tolist() == expected["predicted_label"]
    assert result.as_numpy("predicted_label").dtype == np.int64


def test_triton_client_must_send_columns_by_themselves(triton_client, expected):
    """One input per feature, each its own type and shape."""
    inputs = []
    for column in range(FEATURES):
        tensor = triton.InferInput(f"f{column}", [len(ROWS), 1], "FP32")
        inputs.append(tensor.set_data_from_numpy(ROWS[:, column : column + 1].astype(np.float32)))
    result = triton_client.infer("kdd", inputs, model_version="1")
    assert result.as_numpy("score").tolist() == pytest.approx(expected["score"], rel=1e-5)


def test_triton_client_must_see_health_and_metadata(triton_client):
    """What the client asks before it infers."""
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("kdd")
    assert not triton_client.is_model_ready("other")
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton_client.get_model_metadata("kdd")
    assert metadata["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, FEATURES]}]
    assert [output["name"] for output in metadata["outputs"]] == ["score", "predicted_label"]


@pytest.mark.parametrize(
    ("model", "columns", "options", "status", "said"),
    [
        ("kdd", 3, {}, "400", "has 3 columns; the model expects 4"),
        ("other", 4, {}, "404", "there is no model 'other'"),
        ("kdd", 4, {"priority": 1}, "400", "'priority'"),
    ],
)
def test_triton_client_must_raise_what_the_server_says(triton_client, model, columns, options, status, said):
    """The error's text and status reach whoever calls."""
    tensor = triton.InferInput("x", [1, columns], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, columns), dtype=np.float32))
    with pytest.raises(triton.InferenceServerException) as raised:
        triton_client.infer(model, [tensor], **options)
    assert raised.value.status() == status
    assert said in raised.value.message()


# --- curl ---


def curl(server: ServerProcess, path: str, *options: str, body: bytes | None = None) -> tuple[int, bytes, str]:
    """Run curl; return status, body and what `--verbose` says."""
    given = ["--data-binary", "@-"] if body is not None else []
    command = ["curl", "--silent", "--verbose", "--max-time", "20", "--write-out", "%{http_code}", *given, *options]
    done = subprocess.run([*command, server.url + path], input=body or b"", capture_output=True, timeout=30, check=True)
    return int(done.stdout[-3:]), done.stdout[:-3], done.stderr.decode("latin-1")


def test_curl_must_get_ping(server):
    """The one-liner that everybody tries first."""
    assert curl(server, "/ping")[:2] == (200, b"{}")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (CSV, "text/csv"),
        (JSON, "application/json"),
        (LINES, "application/jsonlines"),
        (SVM, "text/libsvm"),
    ],
)
@pytest.mark.parametrize("accept", ["text/csv", "application/json", "application/jsonlines"])
def test_curl_must_invoke_in_every_text_format(server, expected, body, content_type, accept):
    """Each format in, each format out, the same numbers."""
    status, told, _ = curl(
        server, "/invocations", "-H", f"Content-Type: {content_type}", "-H", f"Accept: {accept}", body=body
    )
    assert status == 200
    if accept == "text/csv":
        scores = [float(line.split(b",")[0]) for line in told.splitlines()]
    elif accept == "application/json":
        scores = [row["score"] for row in orjson.loads(told)["predictions"]]
    else:
        scores = [orjson.loads(line)["score"] for line in told.splitlines()]
    assert scores == pytest.approx(expected["score"])


def test_curl_must_send_in_chunks(server):
    """A body of unknown length."""
    status, told, said = curl(
        server, "/invocations", "-H", "Content-Type: text/csv", "-H", "Transfer-Encoding: chunked", body=CSV
    )
    assert "Transfer-Encoding: chunked" in said
    assert (status, len(orjson.loads(told)["predictions"])) == (200, len(ROWS))


def test_curl_must_be_told_to_continue(server):
    """With Expect: 100-continue curl waits for the server's word before it sends the body."""
    status, told, said = curl(
        server, "/invocations", "-H", "Content-Type: text/csv", "-H", "Expect: 100-continue", body=CSV
    )
    assert "100 Continue" in said
    assert (status, len(orjson.loads(told)["predictions"])) == (200, len(ROWS))


def test_curl_must_load_list_and_unload_models(many, base):
    """SageMaker's multi-model contract by hand."""
    load = orjson.dumps({"model_name": "mine", "url": str(base / "models" / "first")})
    assert curl(many, "/models", "-H", "Content-Type: application/json", body=load)[0] == 200
    assert curl(many, "/models", "-H", "Content-Type: application/json", body=load)[0] == 409
    status, told, _ = curl(many, "/models/mine/invoke", "-H", "Content-Type: text/csv", body=CSV)
    assert (status, len(orjson.loads(told)["predictions"])) == (200, len(ROWS))
    assert curl(many, "/models/mine", "-X", "DELETE")[0] == 200
    assert curl(many, "/models/mine")[0] == 404


# --- docs/serving.md ---


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_of_the_page_must_run(server, many, number):
    """Every example that the page shows works as it stands, but for the port."""
    kind, text = EXAMPLES[number]
    port = many.port if kind == "sh multi-model" else server.port
    assert "127.0.0.1:8080" in text
    program = ["bash", "-e", "-c"] if kind.startswith("sh") else [sys.executable, "-c"]
    command = [*program, text.replace(":8080", f":{port}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_page_must_have_examples_of_every_protocol():
    """The examples are found, so that the test above can't pass for want of any."""
    text = "".join(text for _, text in EXAMPLES)
    for part in (
        "/invocations",
        "invoke_endpoint(",
        "response_stream(",
        "/infer",
        "tritonclient",
        "openapi",
        "/models",
    ):
        assert part in text
