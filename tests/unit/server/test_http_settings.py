"""What the environment says about serving, and what shows of it."""

import orjson
import pytest

from sagebrush_server.cpus import usable_cpus
from sagebrush_server.http.settings import ServeSettings
from sagebrush_server.settings import SettingError
from tests.unit.server.wire import wait_until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"port": 8080, "metrics_port": 9102, "workers": usable_cpus(), "access_log": False}),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, {"workers": 3, "max_concurrent_transforms": 3}),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "7"}, {"request_timeout": 7.0}),
        (
            {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "7", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "8"},
            {"request_timeout": 8.0},
        ),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "20"}, {"max_body_bytes": 20 * 2**20}),
        ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"}, {"default_accept": "text/csv"}),
        ({"SAGEBRUSH_ACCESS_LOG": "true"}, {"access_log": True}),
        ({"SAGEBRUSH_MAX_WAITING_REQUESTS": "5", "SAGEBRUSH_MAX_WAITING_MB": "1"}, {"max_waiting": 5}),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9100-9110"}, {"metrics_port": 9102}),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "7000-7009"}, {"metrics_port": 7000}),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "8080-8081"}, {"metrics_port": 8081}),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "7000-7009", "SAGEBRUSH_METRICS_PORT": "7003"}, {"metrics_port": 7003}),
    ],
)
def test_settings_must_follow_the_environment(environment, expected):
    """SageMaker's variables and ours, each with its default."""
    settings = ServeSettings.from_environment(environment)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "at least 1"),
        ("SAGEMAKER_BIND_TO_PORT", "http", "whole number"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "nan", "must be a number"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "image/png", "must be one of application/json"),
        ("SAGEBRUSH_ACCESS_LOG", "yes", "must be one of false, true"),
        ("SAGEMAKER_BATCH_STRATEGY", "Some", "MULTI_RECORD, SINGLE_RECORD"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "7009-7000", "two ports"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "x", "two ports"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "8080-8080", "leaves no port"),
    ],
)
def test_settings_must_name_what_is_wrong(name, value, says):
    """The variable, its value and what it may be."""
    with pytest.raises(SettingError, match=f"{name}='?{value}.*{says}"):
        ServeSettings.from_environment({name: value})


def test_metrics_port_must_be_a_safe_one():
    """In SageMaker's pipelines other containers have the other ports."""
    environment = {"SAGEMAKER_SAFE_PORT_RANGE": "7000-7009", "SAGEBRUSH_METRICS_PORT": "9102"}
    with pytest.raises(SettingError, match=r"9102: must be in SAGEMAKER_SAFE_PORT_RANGE=7000-7009"):
        ServeSettings.from_environment(environment)


def test_execution_parameters_must_be_told_to_a_batch_transform(start_server):
    """SageMaker asks before a transform job how it should ask."""
    running = start_server(max_concurrent_transforms=4, batch_strategy="SINGLE_RECORD", max_body_bytes=7 * 2**20)
    reply = running.client().get("/execution-parameters")
    assert (reply.status, reply.json) == (
        200,
        {"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 7},
    )


def test_access_log_must_have_a_line_for_each_request(start_server, capsys):
    """JSON with method, path, status, sizes, duration and the client's trace, for the quick way too."""
    running = start_server(access_log=True)
    client = running.client()
    capsys.readouterr()
    for _ in range(2):
        client.invoke(b"3,1,0", traceparent=TRACE, tracestate="a=b")
    client.invoke(b"x")
    client.get("/ping")
    text = []

    def complete():
        text.append(capsys.readouterr().out)
        return "".join(text).count("\n") >= 4

    wait_until(complete, about="four lines")
    lines = [orjson.loads(line) for line in "".join(text).splitlines() if line.startswith("{")]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        *[("POST", "/invocations", 200)] * 2,
        ("POST", "/invocations", 400),
        ("GET", "/ping", 200),
    ]
    assert lines[1]["traceparent"] == TRACE
    assert lines[1]["tracestate"] == "a=b"
    assert lines[1]["request_bytes"] == 5
    assert lines[1]["response_bytes"] > 40
    assert 0 < lines[1]["seconds"] < 10


def test_access_log_must_be_off_by_default(start_server, capsys):
    """It would cost more than the requests."""
    running = start_server()
    capsys.readouterr()
    running.client().invoke(b"3,1,0")
    assert capsys.readouterr().out == ""


def test_unknown_path_must_be_told_what_there_is(shared_server):
    """404 lists the paths; a wrong method gets 405 with those that are allowed."""
    client = shared_server.client()
    reply = client.get("/nothing")
    assert reply.status == 404
    for path in ("GET /ping", "POST /invocations", "GET /execution-parameters"):
        assert path in reply.json["error"]
    reply = client.request("DELETE", "/ping")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_inference_id_must_be_echoed(shared_server):
    """X-Amzn-SageMaker-Inference-Id comes back, with custom attributes, on answers and on refusals."""
    client = shared_server.client()
    for _ in range(2):
        for body in (b"3,1,0", b"x"):
            names = {"X_Amzn_SageMaker_Inference_Id": "i7", "X_Amzn_SageMaker_Custom_Attributes": "a=1"}
            reply = client.invoke(body, **names)
            assert reply.headers["x-amzn-sagemaker-inference-id"] == "i7"
            assert reply.headers["x-amzn-sagemaker-custom-attributes"] == "a=1"
