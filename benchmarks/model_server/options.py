"""What is measured, for how long, and on which CPUs."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model_server.payloads import PAYLOADS
from benchmarks.model_server.servers import SERVERS

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench"
_QUICK_SERVERS = ("nginx", "sagemaker", "fastapi", "sagebrush", "sagebrush-code")
_QUICK_PAYLOADS = ("csv-1", "json-1", "lone", "code-1")
SIGTERM = "sigterm"
"""Not a payload but asked for like one: SIGTERM under the load of the first payload."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """One run of the benchmark. Times are seconds."""

    servers: tuple[str, ...]
    payloads: tuple[str, ...]
    sigterm: bool
    rounds: int
    seconds: float
    warmup: float
    server_core: int
    load_core: int
    out: Path = OUT


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line; what it names and there isn't ends the process with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_server", description=__doc__)
    parser.add_argument(
        "--servers", "--only", default="", help=f"of {', '.join(SERVERS)}; words that end in * match beginnings"
    )
    parser.add_argument("--payloads", default="", help=f"of {', '.join((*PAYLOADS, SIGTERM))}")
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (default: 3, quick: 1)")
    parser.add_argument("--seconds", type=float, default=0.0, help="of each measurement (default: 2.5, quick: 1.5)")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few servers and payloads, one round: two minutes")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of what is written (default: build/bench)")
    chosen = parser.parse_args(arguments)
    servers = _choose(parser, chosen.servers, of=tuple(SERVERS), default=_QUICK_SERVERS if chosen.quick else None)
    payloads = _choose(
        parser, chosen.payloads, of=(*PAYLOADS, SIGTERM), default=(*_QUICK_PAYLOADS, SIGTERM) if chosen.quick else None
    )
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("two CPUs are needed, one for the server and one for the load")
    if chosen.rounds < 0 or chosen.seconds < 0 or chosen.warmup < 0:
        parser.error("--rounds, --seconds and --warmup can't be negative")
    return Options(
        servers=servers,
        payloads=tuple(name for name in payloads if name != SIGTERM),
        sigterm=SIGTERM in payloads,
        rounds=chosen.rounds or (1 if chosen.quick else 3),
        seconds=chosen.seconds or (1.5 if chosen.quick else 2.5),
        warmup=chosen.warmup,
        server_core=cores[0],
        load_core=cores[1],
        out=chosen.out,
    )


def _choose(
    parser: argparse.ArgumentParser, words: str, *, of: tuple[str, ...], default: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the names that were asked for, in the order of `of`."""
    if not words:
        return of if default is None else tuple(name for name in of if name in default)
    found: set[str] = set()
    for word in words.split(","):
        matching = {name for name in of if name == word or (word.endswith("*") and name.startswith(word[:-1]))}
        if not matching:
            parser.error(f"{word!r} is none of {', '.join(of)}")
        found |= matching
    return tuple(name for name in of if name in found)
