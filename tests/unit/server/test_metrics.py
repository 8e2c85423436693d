"""The metrics that the scaler and people read."""

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.server.wire import Client, connect, post, read_reply, wait_until

LABELS = {"endpoint_name": "kdd", "variant_name": "AllTraffic"}


def scrape(running):
    text = Client(running.server.metrics_port).get("/metrics").body.decode()
    return {
        (sample.name, sample.labels.get("code") or sample.labels.get("le") or sample.labels.get("reason")): (
            sample.value,
            sample.labels,
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_must_be_there_from_the_start(start_server):
    """Every series of the contract is exposed before the first request, the counters at 0."""
    samples = scrape(start_server())
    for name in (
        "sagebrush_invocations_total",
        "sagebrush_requests_in_flight",
        "sagebrush_request_duration_seconds_count",
    ):
        assert samples[name, None] == (0.0, LABELS)
    assert samples["sagebrush_responses_total", "200"] == (0.0, {**LABELS, "code": "200"})
    assert samples["sagebrush_request_duration_seconds_bucket", "+Inf"][0] == 0.0
    assert samples["sagebrush_model_load_seconds", None][0] > 0


def test_metrics_must_count_what_arrives_and_what_is_answered(start_server):
    """Refused requests count as invocations too; pings don't; a half-received one is in flight."""
    running = start_server()
    client = running.client()
    client.get("/ping")
    for body in (b"1,2,3", b"1,2,3", b"x", b""):
        client.invoke(body)
    with connect(running.port) as connection:
        connection.sendall(post(b"1,2,3")[:-1])
        wait_until(lambda: scrape(running)["sagebrush_requests_in_flight", None][0] == 1, about="in flight")
    wait_until(lambda: scrape(running)["sagebrush_requests_in_flight", None][0] == 0, about="given up")
    samples = scrape(running)
    assert samples["sagebrush_invocations_total", None][0] == 5
    codes = {code: samples["sagebrush_responses_total", code][0] for code in ("200", "400", "204")}
    assert codes == {"200": 2, "400": 1, "204": 1}
    assert samples["sagebrush_request_duration_seconds_count", None][0] == 4
    assert samples["sagebrush_request_duration_seconds_bucket", "+Inf"][0] == 4
    assert samples["sagebrush_request_duration_seconds_sum", None][0] > 0


def test_metrics_must_tell_what_was_predicted_together(start_server):
    """Batches in requests and rows, time before and in the prediction, bytes of bodies."""
    running = start_server()
    bodies = [b"3,1,0", b"3,1,0\n0,3,9"]
    with connect(running.port) as connection, connection.makefile("rb") as stream:
        for _ in range(3):
            connection.sendall(b"".join(map(post, bodies)))
            replies = [read_reply(stream) for _ in bodies]
    wait_until(lambda: scrape(running)["sagebrush_responses_total", "200"][0] == 6, about="counted")
    samples = scrape(running)
    assert samples["sagebrush_request_bytes_total", None][0] == 3 * sum(map(len, bodies))
    assert samples["sagebrush_response_bytes_total", None][0] == 3 * sum(len(reply.body) for reply in replies)
    assert samples["sagebrush_batch_requests_sum", None][0] == 6
    assert samples["sagebrush_batch_rows_sum", None][0] == 9
    assert samples["sagebrush_batch_requests_count", None][0] < 6
    assert samples["sagebrush_queue_seconds_count", None][0] == 6
    assert samples["sagebrush_inference_seconds_count", None][0] == 6
    assert 0 < samples["sagebrush_inference_seconds_sum", None][0] < 10
    assert samples["sagebrush_refused_total", "QueueFull"][0] == 0
