"""SageMaker's runtime API on the server itself: paths, errors and frames as AWS' clients read them."""

import threading
from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError

from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.protocols.runtime_api.event_stream import exception, payload_part
from tests.unit.server.wire import connect, read_reply

ATTRIBUTES = "trace=7,tenant=a"


@pytest.fixture(scope="module")
def runtime(shared_server):
    return client_of(shared_server.port)


def client_of(port: int):
    """boto3's own client; it signs with credentials that nobody checks."""
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
    )


def test_invoke_endpoint_must_answer_as_sagemaker_does(runtime):
    """Body, type, variant, custom attributes and a request's id come back."""
    reply = runtime.invoke_endpoint(
        EndpointName="kdd",
        ContentType="text/csv",
        Accept="text/csv",
        CustomAttributes=ATTRIBUTES,
        InferenceId="i-1",
        TargetVariant="AllTraffic",
        Body=b"3,1,0\n0,3,9",
    )
    assert reply["Body"].read() == b"0.9241418199787566,1\n0.07585818002124355,0\n"
    assert reply["ContentType"] == "text/csv"
    assert reply["CustomAttributes"] == ATTRIBUTES
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert len(reply["ResponseMetadata"]["RequestId"]) == 32


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "said"),
    [
        (b"1,2", "text/csv", "text/csv", 400, "row 1 has 2 values"),
        (b"1,x,3", "text/csv", "text/csv", 400, "column 2"),
        (b"1,2,3", "image/png", "text/csv", 415, "image/png"),
        (b"1,2,3", "text/csv", "image/png", 406, "image/png"),
    ],
)
def test_refusal_of_the_model_must_be_a_model_error(runtime, body, content_type, accept, status, said):
    """What the container refuses is a ModelError with the container's own status and words."""
    with pytest.raises(runtime.exceptions.ModelError) as raised:
        runtime.invoke_endpoint(EndpointName="kdd", ContentType=content_type, Accept=accept, Body=body)
    told = raised.value.response
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert told["OriginalStatusCode"] == status
    assert said in told["OriginalMessage"]
    assert said in told["Error"]["Message"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"EndpointName": "other"}, "EndpointName: there is no endpoint 'other'; here is kdd"),
        ({"TargetVariant": "blue"}, "TargetVariant: there is no variant 'blue'"),
        ({"TargetModel": "a.tar.gz"}, "TargetModel: the endpoint serves one model"),
        ({"TargetContainerHostname": "second"}, "TargetContainerHostname"),
        ({"EnableExplanations": "`true`"}, "EnableExplanations"),
        ({"InferenceComponentName": "c"}, "InferenceComponentName"),
        ({"SessionId": "NEW_SESSION"}, "SessionId"),
        ({"InferenceId": "i" * 65}, "InferenceId: must be at most 64"),
        ({"CustomAttributes": "a" * 1025}, "CustomAttributes: must be at most 1024"),
    ],
)
def test_member_that_is_not_honoured_must_be_a_validation_error(runtime, more, said):
    """A member of the request is honoured or refused by its name, never ignored."""
    call = {"EndpointName": "kdd", "ContentType": "text/csv", "Body": b"1,2,3", **more}
    with pytest.raises(runtime.exceptions.ValidationError) as raised:
        runtime.invoke_endpoint(**call)
    assert said in str(raised.value)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_server_without_a_model_must_be_unavailable(start_server):
    """While the model is being loaded clients get ServiceUnavailable, which they try again."""
    release = threading.Event()

    def load():
        release.wait(10)
        raise ValueError("never served")

    running = start_server(load, ready=False)
    reply = running.client().request("POST", "/endpoints/kdd/invocations", b"1,2,3", Content_Type="text/csv")
    release.set()
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
    assert (reply.headers["retry-after"], reply.json["Message"]) == ("1", "the model is being loaded")
    running.join()


def test_response_stream_must_bring_the_answer_in_parts(runtime):
    """The stream's parts are the answer, whose type stands in a header of its own."""
    reply = runtime.invoke_endpoint_with_response_stream(
        EndpointName="kdd", ContentType="text/csv", Accept="text/csv", CustomAttributes=ATTRIBUTES, Body=b"3,1,0"
    )
    assert b"".join(event["PayloadPart"]["Bytes"] for event in reply["Body"]) == b"0.9241418199787566,1\n"
    assert (reply["ContentType"], reply["CustomAttributes"]) == ("text/csv", ATTRIBUTES)


def test_error_of_a_stream_must_come_before_it(runtime):
    """A request that is refused is an error of the call, not of the stream."""
    with pytest.raises(ClientError, match="row 1 has 2 values") as raised:
        runtime.invoke_endpoint_with_response_stream(EndpointName="kdd", ContentType="text/csv", Body=b"1,2")
    assert raised.value.response["Error"]["Code"] == "ModelError"


def test_frames_must_be_read_by_the_clients_parser():
    """Lengths, headers and both checksums are as AWS' own parser wants them; a wrong bit is seen."""
    buffer = EventStreamBuffer()
    buffer.add_data(payload_part(b"one") + exception("ModelStreamError", payload=b'{"Message":"broken"}'))
    part, broken = list(buffer)
    assert (part.headers[":event-type"], part.payload) == ("PayloadPart", b"one")
    assert broken.headers[":exception-type"] == "ModelStreamError"
    damaged = bytearray(payload_part(b"one"))
    damaged[-5] ^= 1
    wrong = EventStreamBuffer()
    wrong.add_data(bytes(damaged))
    with pytest.raises(ChecksumMismatch):
        list(wrong)


class Pieces:
    """A model of user code that answers in pieces, as what it is sent says."""

    algorithm = "inference.py"
    fork_safe = True

    def respond(self, invocation: Invocation) -> Reply:
        assert invocation.accept == "text/plain"
        return Reply(self.later() if invocation.body == b"async" else self.now(invocation.body), "text/plain")

    def now(self, body: bytes) -> Iterator[bytes]:
        yield b"one,"
        if body == b"fail":
            raise ValueError("in the middle")
        yield b"two"

    async def later(self) -> AsyncIterator[bytes]:
        yield b"one,"
        yield b"two"

    def self_test(self) -> None:
        pass


@pytest.mark.parametrize("body", [b"now", b"async"])
def test_pieces_of_an_answer_must_be_parts_of_the_stream(start_server, body):
    """What the model yields becomes the events of the stream."""
    runtime = client_of(start_server(Pieces).port)
    reply = runtime.invoke_endpoint_with_response_stream(
        EndpointName="kdd", ContentType="text/plain", Accept="text/plain", Body=body
    )
    assert reply["ContentType"] == "text/plain"
    assert [event["PayloadPart"]["Bytes"] for event in reply["Body"]] == [b"one,", b"two"]


def test_pieces_of_an_answer_must_be_one_body_without_a_stream(start_server):
    """InvokeEndpoint itself takes an answer in pieces as a body."""
    runtime = client_of(start_server(Pieces).port)
    reply = runtime.invoke_endpoint(EndpointName="kdd", ContentType="text/plain", Accept="text/plain", Body=b"now")
    assert reply["Body"].read() == b"one,two"


def test_failure_in_the_middle_must_be_an_event_of_the_stream(start_server, caplog):
    """A broken answer ends in ModelStreamError, with an id that the log has, so that nobody takes it for a whole one."""
    runtime = client_of(start_server(Pieces).port)
    reply = runtime.invoke_endpoint_with_response_stream(
        EndpointName="kdd", ContentType="text/plain", Accept="text/plain", Body=b"fail"
    )
    events = iter(reply["Body"])
    assert next(events) == {"PayloadPart": {"Bytes": b"one,"}}
    with pytest.raises(EventStreamError, match="the model failed in the middle of its answer") as raised:
        next(events)
    error_id = str(raised.value).rpartition(" ")[2]
    assert error_id in caplog.text
    assert "in the middle" in caplog.text


def test_full_queue_must_be_unavailable(start_server):
    """Over the bound on waiting requests clients get ServiceUnavailable and are told when to ask again."""
    running = start_server(max_waiting=1)
    request = (
        b"POST /endpoints/kdd/invocations HTTP/1.1\r\nHost: m\r\nContent-Type: text/csv\r\nContent-Length: 5\r\n\r\n"
    )
    connection = connect(running.port)
    connection.sendall((request + b"1,2,3") * 3)
    with connection.makefile("rb") as stream:
        replies = [read_reply(stream) for _ in range(3)]
    connection.close()
    assert [reply.status for reply in replies] == [200, 503, 503]
    assert replies[1].headers["x-amzn-errortype"] == "ServiceUnavailable"
    assert replies[1].headers["retry-after"] == "1"
    assert "SAGEBRUSH_MAX_WAITING_REQUESTS" in replies[1].json["Message"]


def test_every_protocol_must_count_in_the_metrics(start_server):
    """Each request to a model counts once as an invocation and once as an answer, refused or not."""
    running = start_server()
    client, counts = running.client(), running.server.counts
    tensor = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[3,1,0]}]}'
    for path, body in (
        ("/invocations", b"1,2,3"),
        ("/endpoints/kdd/invocations", b"1,2,3"),
        ("/endpoints/kdd/invocations", b"1,2"),
        ("/endpoints/other/invocations", b"1,2,3"),
        ("/endpoints/kdd/invocations-response-stream", b"1,2,3"),
        ("/v2/models/kdd/infer", tensor),
        ("/v2/models/kdd/infer", b"{"),
    ):
        client.request("POST", path, body, Content_Type="text/csv")
    assert counts.invocations == 7
    assert dict(counts.responses.items()) == {200: 4, 400: 2, 424: 1}
    assert counts.in_flight == 0
