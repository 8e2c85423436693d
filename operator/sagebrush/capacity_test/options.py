"""What the command line of `sagebrush capacity-test` says, checked."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from sagebrush.capacity_test.measurement import Bound

Via = Literal["auto", "pod", "port-forward"]
DEFAULT_LATENCY_SECONDS = 0.5
DEFAULT_LATE_PERCENT = 0.1
_LONGEST_SECONDS = 3600.0
_LARGEST_PAYLOAD = 100 * 1024 * 1024
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_DURATION = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|s|m)")


class InvalidOptionError(ValueError):
    """An option can't be honoured; the text says which and what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that the user said. Times are seconds."""

    name: str
    namespace: str | None
    bodies: tuple[bytes, ...]
    content_type: str
    accept: str | None
    latency: float | None
    """None: what the endpoint's own policy says, else half a second."""
    late_percent: float | None
    duration: float
    max_requests: int
    url: str | None
    live: bool
    via: Via
    write: bool
    report: Path | None
    plot: Path | None

    def bound(self, *, latency: float | None = None, late_percent: float | None = None) -> Bound:
        """What counts as good; the arguments are the policy's own, for what the command line leaves open."""
        return Bound(
            self.latency or latency or DEFAULT_LATENCY_SECONDS,
            self.late_percent or late_percent or DEFAULT_LATE_PERCENT,
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Put the command's arguments on *parser*."""
    add = parser.add_argument
    add("name", metavar="NAME", help="the ModelEndpoint (backend Cluster)")
    add("-n", "--namespace", help="its namespace (default: the kubeconfig's)")
    add("--payload", required=True, type=Path, metavar="FILE", help="the body of a request")
    add("--per-line", action="store_true", help="each line of the file is a request of its own, sent in turn")
    add("--content-type", default="text/csv", help="of the payload (default: %(default)s)")
    add("--accept", help="media type of the answer (default: the replica's own)")
    add("--latency", help="bound, such as 500ms (default: the policy's target.latency, else 500ms)")
    add("--late-percent", type=float, help="share of requests that may be later or fail (default: the policy's, else 0.1)")  # fmt: skip
    add("--duration", default="60s", help="about how long the load lasts, 5s to 1h (default: %(default)s)")
    add("--max-requests", type=int, default=1_000_000, help="no more requests than these (default: %(default)s)")
    add("--live", action="store_true", help="test a replica that takes live traffic, instead of a copy made for the test")  # fmt: skip
    add("--via", choices=get_args(Via), default="auto", help="how the replica is reached (default: its address where it answers there, else the API server's port-forward)")  # fmt: skip
    add("--url", help="test what answers here instead, such as http://127.0.0.1:8080/invocations")
    add("--write", action="store_true", help="put the result into the endpoint's status.scaling.capacity")
    add("--report", type=Path, metavar="FILE", help="write everything measured as JSON")
    add("--plot", type=Path, metavar="FILE", help="draw it as PNG (needs matplotlib)")


def options_from(chosen: argparse.Namespace) -> Options:
    """Check what was said. Raises InvalidOptionError."""
    if not _NAME.fullmatch(chosen.name):
        raise InvalidOptionError(f"NAME {chosen.name!r}: that is no name of a ModelEndpoint")
    duration = _seconds(chosen.duration, option="--duration")
    _check(5 <= duration <= _LONGEST_SECONDS, f"--duration {chosen.duration}: between 5s and 60m")
    latency = _seconds(chosen.latency, option="--latency") if chosen.latency else None
    _check(latency is None or 0.001 <= latency <= 60, f"--latency {chosen.latency}: between 1ms and 60s")
    late = chosen.late_percent
    _check(late is None or 0 < late <= 10, f"--late-percent {late}: above 0, at most 10")
    _check(chosen.max_requests >= 100, f"--max-requests {chosen.max_requests}: at least 100")
    _check(not (chosen.url and chosen.live), "--url and --live: choose one")
    for option in ("content_type", "accept"):
        value = getattr(chosen, option)
        clean = value is None or (value.isprintable() and value.isascii() and value.strip())
        _check(bool(clean), f"--{option.replace('_', '-')} {value!r}: that is no media type")
    _check_url(chosen.url)
    for path in (chosen.report, chosen.plot):
        _check(path is None or path.parent.is_dir(), f"{path}: there is no folder {path.parent if path else ''}")
    return Options(
        name=chosen.name,
        namespace=chosen.namespace,
        bodies=_bodies(chosen.payload, per_line=chosen.per_line),
        content_type=chosen.content_type,
        accept=chosen.accept,
        latency=latency,
        late_percent=late,
        duration=duration,
        max_requests=chosen.max_requests,
        url=chosen.url,
        live=chosen.live,
        via=chosen.via,
        write=chosen.write,
        report=chosen.report,
        plot=chosen.plot,
    )


def _check(fine: bool, message: str) -> None:
    if not fine:
        raise InvalidOptionError(message)


def _check_url(url: str | None) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii()
    except ValueError:
        good = False
    _check(good and not re.search(r"\s", url), f"--url {url}: write it as http://host:port/invocations")


def _seconds(text: str, *, option: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidOptionError(f"{option} {text!r}: write a number with its unit, such as 500ms, 60s or 5m")
    factors: dict[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0}
    return float(match[1]) * factors[match[2]]


def _bodies(path: Path, *, per_line: bool) -> tuple[bytes, ...]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidOptionError(f"--payload {path}: {error.strerror or error}") from error
    bodies = tuple(line for line in content.splitlines() if line.strip()) if per_line else (content,)
    _check(bool(bodies) and all(bodies), f"--payload {path}: it is empty; a request needs a body")
    _check(len(content) <= _LARGEST_PAYLOAD, f"--payload {path}: larger than 100 MiB")
    return bodies
