"""Asks whose answers a protocol puts into its own form: what happens when that itself fails, and when nobody waits."""

from dataclasses import replace

import pytest

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.http.messages import Answer, Ask, Request
from tests.unit.server.wire import connect, post, read_reply


@pytest.fixture
def asking(start_server):
    """A server with a path whose answers go through `then`."""

    def start(then):
        running = start_server()
        application = running.server.application

        def ask(request: Request) -> Ask | Answer:
            return replace(application.invocation(request, served=application.default), then=then)

        application.routes.add("POST", "/own", function=ask)
        return running

    return start


def own(running, body=b"3,1,0"):
    return running.client().request("POST", "/own", body, Content_Type="text/csv", Accept="text/csv")


def test_answer_must_get_the_protocols_form(asking):
    """Body, type, status and headers are what `then` makes of them."""
    running = asking(lambda reply: Reply(b"<" + reply.body + b">", "text/own", 203, {"X-Own": reply.content_type}))
    reply = own(running)
    assert (reply.status, reply.body) == (203, b"<0.9241418199787566,1\n>")
    assert (reply.headers["content-type"], reply.headers["x-own"]) == ("text/own", "text/csv")


def test_refusal_must_get_the_protocols_form_too(asking):
    """A refusal passes through `then` as an answer does."""
    running = asking(lambda reply: replace(reply, headers={"X-Status": str(reply.status)}))
    reply = own(running, b"1,2")
    assert (reply.status, reply.headers["x-status"]) == (400, "400")


def test_failure_of_the_form_must_be_a_500_with_an_id(asking, caplog):
    """An error in `then` is the server's own, logged under the id that the client gets; the server goes on."""

    def fail(_: Reply) -> Reply:
        raise KeyError("form")

    running = asking(fail)
    reply = own(running)
    assert reply.status == 500
    assert reply.json["id"] in caplog.text
    assert running.client().invoke(b"3,1,0").status == 200


def test_answers_must_keep_their_order(asking):
    """A relayed answer between others on one connection comes in its turn."""
    running = asking(lambda reply: replace(reply, body=b"own"))
    request = post(b"3,1,0", "Accept: text/csv")
    connection = connect(running.port)
    connection.sendall(request + request.replace(b"/invocations", b"/own") + request)
    with connection.makefile("rb") as stream:
        bodies = [read_reply(stream).body for _ in range(3)]
    connection.close()
    assert bodies == [b"0.9241418199787566,1\n", b"own", b"0.9241418199787566,1\n"]
