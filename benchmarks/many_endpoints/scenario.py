"""What happens, in what order, and what is kept of it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.many_endpoints.population import Subject
from benchmarks.many_endpoints.stage import Stage, TooSlowError
from benchmarks.sagemaker.figures import spread

STEP = 1.8
_ALL_READY_SECONDS = 1800.0
_CHANGED_SHARE = 0.05
_DAILY_AMPLITUDE = 0.3
_ROUNDS_OF_FEW = 5
_SETTLED_SECONDS = 400.0
"""Longest wait for the right numbers: what was too much at first is given up after five minutes (scaleInCooldown)."""


class Scenario:
    """One run; figures and wrongs are gathered by phase."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.options = stage, stage.options
        self.subjects = [Subject(number) for number in range(self.options.endpoints)]
        self.levels = dict.fromkeys((subject.name for subject in self.subjects), 1.0)
        self.phases: dict[str, dict[str, Any]] = {}
        self.wrong: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """All phases. Raises TooSlowError where one does not end."""
        few = self.options.few
        with self._phase("few"):
            self.stage.submit(self.subjects[:few])
            self._wait_all_ready(few)
            begun = time.time()
            self.stage.wait("rounds", lambda: len(self.stage.rounds(since=begun)) >= _ROUNDS_OF_FEW, seconds=120)
        self._queries("few", begun)
        with self._phase("creation"):
            self.stage.submit(self.subjects[few:])
            self.phases["creation"] = {"secondsUntilAllReady": self._wait_all_ready(len(self.subjects))}
        _say("filling the windows")
        time.sleep(self.options.settle_seconds)
        self._check("settled")
        self.stage.profile(on=True)
        with self._phase("steady"):
            time.sleep(self.options.steady_seconds)
        self.stage.profile(on=False)
        self._check("steady")
        self.stage.profile(on=True)
        with self._phase("changing"):
            self._change()
        self.stage.profile(on=False)
        self._check("changing")
        with self._phase("daily"):
            self.stage.load(day=[self.options.daily_period_seconds, _DAILY_AMPLITUDE])
            time.sleep(self.options.daily_seconds)
            self.stage.load(day=[1, 0])
        with self._phase("step"):
            self._step()
        self._check("step", started=self.phases["step"]["secondsUntilAllReady"] or 0.0)

    def _change(self) -> None:
        """With each scrape another 5 % of the endpoints get 1.8 times their load."""
        size = max(1, round(_CHANGED_SHARE * len(self.subjects)))
        groups = [self.subjects[begin : begin + size] for begin in range(0, len(self.subjects), size)]
        end = time.time() + self.options.changing_seconds
        for group in groups:
            if time.time() >= end:
                break
            self._set_level(group, STEP)
            time.sleep(min(self.options.scrape_seconds, max(0.0, end - time.time())))

    def _step(self) -> None:
        """All at once get 1.8 times what they have; those that had it already get 1.8² times their base."""
        begun = time.time()
        for level in sorted(set(self.levels.values())):
            same = [subject for subject in self.subjects if self.levels[subject.name] == level]
            self._set_level(same, level * STEP)
        wanted = self._right()

        def enough(key: str) -> bool:
            fleets = self.stage.state()["fleets"]
            return all(fleets[name][key] >= count for name, count in wanted.items())

        try:
            asked = self.stage.wait("the scale-out of all", lambda: enough("wanted"), seconds=self.options.step_seconds)
            ready = asked + self.stage.wait("all ready", lambda: enough("ready"), seconds=_ALL_READY_SECONDS)
        except TooSlowError:
            self.phases["step"] = {"secondsUntilAllAsked": None, "secondsUntilAllReady": None}
            return
        times = [each["askedAt"] - begun for each in self.stage.state()["fleets"].values()]
        self.phases["step"] = {
            "secondsUntilAllAsked": round(asked, 1),
            "secondsUntilAllReady": round(ready, 1),
            "secondsUntilAsked": spread([each for each in times if each >= 0]),
        }

    def _set_level(self, subjects: list[Subject], level: float) -> None:
        names = [subject.name for subject in subjects]
        self.stage.load(endpoints=names, level=level)
        self.levels |= dict.fromkeys(names, level)

    def _right(self) -> dict[str, int]:
        return {subject.name: subject.right(self.levels[subject.name]) for subject in self.subjects}

    def _wait_all_ready(self, count: int) -> float:
        """Until the number that is right is Ready of each; the seconds."""
        wanted = dict(list(self._right().items())[:count])

        def all_ready() -> bool:
            fleets = self.stage.state()["fleets"]
            return all(name in fleets and fleets[name]["ready"] >= right for name, right in wanted.items())

        return round(self.stage.wait(f"{count} endpoints with their pods", all_ready, seconds=_ALL_READY_SECONDS), 1)

    def _check(self, name: str, *, started: float = 0.0) -> None:
        """
        Every endpoint must come to have the number that is right: later by two of the starts, in seconds, that its policy has
        just measured, since a rise is provided for over the time that they take, and what was provided for is held.
        """
        wanted, spare = self._right(), {subject.name: subject.spare for subject in self.subjects}
        wrong: dict[str, Any] = {}

        def all_right() -> bool:
            wrong.clear()
            for key, each in self.stage.state()["fleets"].items():
                if not (each["settled"] and wanted[key] <= each["wanted"] <= wanted[key] + spare[key]):
                    wrong[key] = {"right": wanted[key], **each}
            return not wrong

        try:
            self.stage.wait("the right numbers", all_right, seconds=_SETTLED_SECONDS + 2 * started)
        except TooSlowError:
            _say(f"{len(wrong)} endpoints have not the number that is right: {dict(list(wrong.items())[:3])}")
        self.wrong[name] = dict(wrong)

    def _queries(self, name: str, since: float) -> None:
        """Queries in each round since then, by what the world was asked."""
        before, begun = self.stage.state()["queries"], time.time()
        self.stage.wait("rounds", lambda: len(self.stage.rounds(since=begun)) >= _ROUNDS_OF_FEW, seconds=120)
        after = self.stage.state()
        rounds = max(1, after["queries"]["counters"] - before["counters"])
        self.phases[name] |= {
            "queriesPerRound": round(
                sum(after["queries"][kind] - before[kind] for kind in ("counters", "gauges")) / rounds, 2
            ),
            "historyQueries": after["queries"]["histories"] - before["histories"],
            "answerBytes": after["bytes"],
            "cpuSecondsPerRound": spread([each["cpuSeconds"] for each in self.stage.rounds(since=since)]),
        }

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        _say(name)
        before, used, begun = self.stage.state()["queries"], self.stage.used(), time.time()
        yield
        ended, used_then, state = time.time(), self.stage.used(), self.stage.state()
        self.phases[name] = {
            **_figures(self.stage.rounds(since=begun, until=ended)),
            "seconds": round(ended - begun, 1),
            "operatorCores": round((used_then["operator"] - used["operator"]) / (ended - begun), 3),
            "worldCores": round((used_then["world"] - used["world"]) / (ended - begun), 3),
            "machineCores": round((used_then["machine"] - used["machine"]) / (ended - begun), 2),
            "rssMib": used_then["rssMib"],
            "peakMib": used_then["peakMib"],
            "yardstickCpuSeconds": _yardstick(),
            "queries": {kind: count - before[kind] for kind, count in state["queries"].items()},
            "answerBytes": state["bytes"],
            **self.phases.get(name, {}),
        }
        _say(f"  {self.phases[name]}")


def _figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of whole rounds."""
    if not rounds:
        return {"rounds": 0}
    writes: Counter[str] = Counter()
    for each in rounds:
        writes.update(each["writes"])
    minutes = sum(each["wallSeconds"] for each in rounds) / 60
    seen = [each for each in rounds if each["snapshotAt"]]
    return {
        "rounds": len(rounds),
        "cpuSecondsPerRound": spread([each["cpuSeconds"] for each in rounds]),
        "queryCpuSeconds": spread([each["queryCpuSeconds"] for each in rounds]),
        "decidingSeconds": spread([each["decidingSeconds"] for each in rounds]),
        "gcSeconds": spread([each["gcSeconds"] for each in rounds]),
        "decisionsPerRound": spread([each["decisions"] for each in rounds]),
        "changesPerRound": spread([each["changes"] for each in rounds]),
        "secondsToLastDecision": spread([e["lastDecisionAt"] - e["snapshotAt"] for e in seen if e["lastDecisionAt"]]),
        "secondsToLastWrite": spread([e["lastWriteAt"] - e["snapshotAt"] for e in seen if e["lastWriteAt"]]),
        "secondsBetweenRounds": spread([each["wallSeconds"] for each in rounds]),
        "writesPerMinute": {kind: round(count / minutes, 1) for kind, count in writes.most_common()},
    }


def _yardstick() -> float:
    """CPU seconds of a fixed piece of work just now: a busy machine takes more of them for the same, operator and all."""
    begun = time.thread_time()
    for number in range(20):
        json.loads(json.dumps([{"number": number, "text": str(each), "value": each / 7} for each in range(2000)]))
    return round(time.thread_time() - begun, 3)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
