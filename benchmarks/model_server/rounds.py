"""One start of one server, and everything that is measured on it."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.model_server import generator, wires
from benchmarks.model_server.environments import environment, our_environment
from benchmarks.model_server.generator import Load, Loaded, write_exchanges
from benchmarks.model_server.options import Options
from benchmarks.model_server.payloads import PAYLOADS, Payload
from benchmarks.model_server.processes import Running, Start, free_ports
from benchmarks.model_server.server import Place, Server
from benchmarks.model_server.workload import Workload

_TOLERANCES = {"linear": 2e-5, "boosting": 1e-6}
"""Of a score, by the family of the model: the SageMaker stack reads values as 32-bit numbers, and XGBoost's are such."""
_READY_SECONDS = 60.0
_EXIT_SECONDS = 30.0
Row = dict[str, Any]


@dataclass(kw_only=True)
class Round:
    """The measurements of one run, one after the other; `rows` is all that was found."""

    options: Options
    workload: Workload
    folder: Path
    rows: list[Row] = field(default_factory=list)

    def measure(self, server: Server, *, number: int) -> Iterator[Row]:
        """Start the server once for each model that the chosen payloads need, and yield a row for each measurement."""
        chosen = [PAYLOADS[key] for key in self.options.payloads if server.wire(PAYLOADS[key]) is not None]
        models = list(dict.fromkeys(payload.model for payload in chosen))
        if self.options.sigterm and not server.constant and not models:
            models = [next(iter(server.models))]
        for model in models:
            payloads = [payload for payload in chosen if payload.model == model]
            for row in self._on_model(server, model=model, payloads=payloads):
                yield {"server": server.key, "round": number, **row}

    def _on_model(self, server: Server, *, model: str, payloads: Sequence[Payload]) -> Iterator[Row]:
        with self._started(server, artifact=server.models[model]) as running:
            yield {
                "payload": f"start-{model}",
                "readySeconds": running.seconds_to_ready,
                "memoryMb": running.memory_mb(),
            }
            for payload in payloads:
                yield self._loaded(server, running, payload=payload)
            yield {"payload": f"after-{model}", "memoryMb": running.memory_mb()}
            first = next(iter(server.models))
            if self.options.sigterm and not server.constant and model == first:
                yield self._terminated(server, running, payload=sigterm_payload(server))

    @contextmanager
    def _started(self, server: Server, *, artifact: str) -> Iterator[Running]:
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix=f"sagebrush-bench-{server.key}-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.chmod(0o755)  # nginx's workers are another user
            port, *others = free_ports(3)
            programs = (environment(server.environment) if server.environment else our_environment()) / "bin"
            place = Place(
                port=port,
                other_ports=(others[0], others[1]),
                folder=folder,
                artifact=self.workload.artifact(artifact),
                model=artifact,
                programs=programs,
            )
            start = Start(
                command=server.command(place),
                environment=server.all_variables(place),
                folder=folder,
                log=self.folder / f"{server.key}.log",
                port=port,
                ready_path=server.ready_path,
                core=self.options.server_core,
            )
            running = stack.enter_context(Running(start))
            running.wait_ready(seconds=_READY_SECONDS)
            yield running

    def _requests(self, server: Server, payload: Payload) -> Path:
        """Return the file of the payload's requests in the form of this server; written once in a run."""
        wire = server.wire(payload)
        if wire is None:
            raise ValueError(f"{server.key} does not take part in {payload.key}")
        artifact = server.models[payload.model]
        path = self.folder / "requests" / f"{server.key}-{artifact}-{payload.form}-{payload.rows}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            bodies, scores = self.workload.rows(payload.rows), self.workload.scores(artifact, payload.rows)
            made = wires.exchanges(wire, bodies=bodies, scores=scores.tolist())
            write_exchanges(path, made, tolerance=_TOLERANCES[artifact.partition("-")[0]], anchor=wire.anchor)
        return path

    def _loaded(self, server: Server, running: Running, *, payload: Payload) -> Row:
        requests = self._requests(server, payload)
        running.settle()
        cpu: dict[str, float] = {}

        def at_mark(word: str) -> None:
            cpu[word] = running.cpu_seconds()

        options = self.options
        load = Load(
            port=running.start.port, connections=payload.connections, seconds=options.seconds, warmup=options.warmup
        )
        found = generator.run(load, requests=requests, core=options.load_core, at_mark=at_mark)
        used = cpu["measured"] - cpu["measuring"]
        return {
            "payload": payload.key,
            "requestsPerSecond": found.requests_per_second,
            "cpuMicroseconds": used / found["measured"] * 1e6 if found["measured"] else None,
            "cpuShare": used / found.seconds if found.seconds else None,
            # Without an answer there is no latency, which is not one of 0.
            **{f"{name}Ms": value if found["measured"] else None for name, value in found.latency_ms.items()},
            "loadCpuShare": found.moment("cpu_seconds") / found.seconds if found.seconds else None,
            **_told(found),
        }

    def _terminated(self, server: Server, running: Running, *, payload: Payload) -> Row:
        requests = self._requests(server, payload)
        running.settle()
        load = Load(port=running.start.port, term_pid=running.pid, term_after=1.0, warmup=0.2)
        found = generator.run(load, requests=requests, core=self.options.load_core)
        signalled, last = found.moment("term_at"), found.moment("last_answer_at")
        ended = running.wait_ended(seconds=max(0.0, signalled + _EXIT_SECONDS - time.monotonic()))
        return {
            "payload": "sigterm",
            "cut": found["cut"],
            "cutMidway": found["cut_midway"],
            "unsentAfterSigterm": found["unsent_after_term"],
            "refusedAfterSigterm": found["refused_after_term"],
            "answeredAfterSigterm": found["answered_after_term"],
            "acceptedAfterSigterm": found["accepted_after_term"],
            "connectionsKeptOpen": found["kept_open"],
            "lastAnswerSeconds": last - signalled,
            "exitSeconds": None if ended is None else ended - signalled,
            "exitAfterLastAnswerSeconds": None if ended is None else ended - last,
            **_told(found),
        }


def sigterm_payload(server: Server) -> Payload:
    """Return the payload of one row that the server is asked while it is told to leave."""
    keys = ("csv-1", "json-1", "gb-1", "code-1")
    return next(PAYLOADS[key] for key in keys if server.wire(PAYLOADS[key]) is not None)


def _told(found: Loaded) -> Row:
    return {
        "answers": found["answered"],
        "wrong": found.wrong,
        "failed": found.failed,
        "samples": found.samples,
    }
