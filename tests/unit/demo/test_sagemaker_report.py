"""The verdict, the report and the picture of the SageMaker demo."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from examples.demo.metrics import Point
from examples.demo.watch import Decision
from examples.sagemaker_demo import page, plot, report
from examples.sagemaker_demo.audit import Audit
from examples.sagemaker_demo.watch import Sample, endpoints_of, sample_of, told

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
SPEED = 60


def at(second):
    return ZERO + timedelta(seconds=second)


def moment(second):
    return report.Moment(time=at(second), virtual=ZERO.timestamp() + SPEED * second)


def stage(name, begun, *, rate=72_000.0, target=30_000, wanted=3, reached=True):
    return report.Stage(
        name=name,
        rate=rate,
        target=target,
        wanted=wanted,
        begun=moment(begun),
        reached=moment(begun + 5) if reached else None,
        ended=moment(begun + 20),
    )


def decision(second, before, after):
    return Decision(time=at(second), from_replicas=before, to_replicas=after, reason="because")


AUDIT = Audit(
    operations={"sagemaker.DescribeEndpoint": 3},
    answers={"OK": 3},
    peak_per_second=2,
    rate=10,
    burst=20,
    lowest_level=12.0,
)


def good_run():
    return report.Run(
        began=ZERO,
        speed=SPEED,
        train=report.TrainReport(
            virtual_seconds=275,
            phases=["Pending", "Completed"],
            artifact="s3://b/model.tar.gz",
            billable_seconds=215,
            cost=0.0069,
            currency="USD",
            prices_as_of="2026-08",
        ),
        stages=[
            stage("load", 0),
            stage("target", 20, target=15_000, wanted=5),
            stage("quiet", 40, rate=0, target=15_000, wanted=1),
        ],
        decisions=[decision(3, 1, 3), decision(20.5, 3, 5), decision(90, 5, 1)],
        most_instances=5,
        objects_left=[],
        audit=AUDIT,
    )


def test_good_run_must_pass():
    """Nothing is held against a run in which all went as it should."""
    assert [] == report.problems(good_run())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"failure": "interrupted"}, "interrupted"),
        ({"train": None}, "no billable seconds"),
        ({"stages": []}, "0 of 3 stages"),
        ({"stages": [stage("load", 0, reached=False)]}, "3 instances were not reached"),
        ({"most_instances": 6}, "6 instances at a time, where 5 carry the load"),
        ({"objects_left": ["trainingjob/kdd"]}, "objects are left: trainingjob/kdd"),
        ({"objects_left": None}, "not looked at"),
        ({"audit": None}, "log was not read"),
        ({"audit": replace(AUDIT, violations=["in use"])}, "violation: in use"),
        ({"audit": replace(AUDIT, orphans=["arn:x"])}, "orphan: arn:x"),
        ({"audit": replace(AUDIT, leftovers={"models": ["m"]})}, "left in SageMaker, models: m"),
        ({"audit": replace(AUDIT, lowest_level=-3.0)}, "the budget was overdrawn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_problem_must_be_told(change, problem):
    """Each thing that may go wrong is one line, and makes the run fail."""
    run = good_run()
    for name, value in change.items():
        setattr(run, name, value)
    assert [line for line in report.problems(run) if problem in line]


def test_wrong_update_must_be_told():
    """What an update got wrong stands beside its name."""
    run = good_run()
    run.updates = [
        report.Update(
            time=ZERO,
            what="good update",
            config="c",
            is_first=False,
            reason="X",
            message="m",
            problems=["c serves, not d"],
        )
    ]
    assert ["good update: c serves, not d"] == report.problems(run)


def test_decisions_must_belong_to_their_stage():
    """A decision counts for the stage in which it was made, in seconds since that began."""
    run = good_run()
    assert [[3], [5], [1]] == [[each.to_replicas for each in report.decisions_in(run, one)] for one in run.stages]
    assert [3.0, 0.5, 50.0] == [
        entry["wallSeconds"] for one in report.to_json(run)["stages"] for entry in one["decisions"]
    ]


def test_amazons_activities_must_be_told_in_their_own_time():
    """Seconds since the stage began, on SageMaker's clock; what came before, and what was only tried, is left out."""

    def activity(second, *, code="Successful"):
        return {"StartTime": at(SPEED * second), "Description": f"at {second}", "StatusCode": code}

    answer = [activity(25), activity(4), activity(-1), activity(5, code="Unfulfilled")]
    found = report.activities_of(answer, stages=good_run().stages)
    assert [("load", 240.0, "at 4"), ("target", 300.0, "at 25")] == [
        (each.stage, each.seconds, each.description) for each in found
    ]


def test_report_must_say_which_clock_is_meant(tmp_path):
    """Both engines' first decisions are told by the clock that each lives on."""
    run = good_run()
    run.activities = report.activities_of(
        [{"StartTime": at(SPEED * 4), "Description": "3", "StatusCode": "Successful"}], stages=run.stages
    )
    page.write(run, folder=tmp_path)
    assert [] == json.loads((tmp_path / "report.json").read_text())["problems"]
    text = (tmp_path / "report.md").read_text()
    assert (
        "3.0 s after the load by its clock, this machine's; Application Auto Scaling 240 s after it by SageMaker's"
        in text
    )
    assert "run.png" not in text, "there is no picture"


def test_report_must_be_written_of_a_run_that_broke_off(tmp_path):
    """Nothing that is missing keeps the report from being written."""
    page.write(report.Run(began=ZERO, speed=SPEED, failure="no S3"), folder=tmp_path)
    assert ["no S3"] == json.loads((tmp_path / "report.json").read_text())["problems"]
    assert "It did not pass" in (tmp_path / "report.md").read_text()


def test_training_time_must_be_amazons():
    """From the first transition: status.startTime is of the operator's clock."""
    status = {
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T01:04:35Z",
        "transitions": [{"phase": "Pending", "startTime": "2026-01-01T01:00:00Z"}],
        "modelArtifact": {"uri": "s3://b/m"},
        "sageMaker": {"billableSeconds": 215},
    }
    assert 275 == report.train_report({"status": status}).virtual_seconds


def described(status="InService", *, current=1, desired=1):
    return {
        "EndpointName": "kdd-kdd-123",
        "EndpointStatus": status,
        "EndpointConfigName": "c",
        "Tags": {"sagebrush.dev/name": "kdd"},
        "ProductionVariants": [{"CurrentInstanceCount": current, "DesiredInstanceCount": desired}],
    }


def test_looks_must_show_both_counts():
    """What is asked for is told where it is another number than serves; a new endpoint has none."""
    (found,) = endpoints_of(
        {"1/us-east-1": {"endpoints": {"kdd-kdd-123": described("Updating", current=1, desired=3)}}}
    ).items()
    assert "kdd" == found[0]
    sample = sample_of(found[1], now=ZERO, virtual=ZERO.timestamp())
    assert (1, 3, "Updating") == (sample.current, sample.desired, sample.status)
    assert "Updating: 1 instance serves, 3 asked for" in told("kdd", sample)
    creating = sample_of({**described("Creating"), "ProductionVariants": None}, now=ZERO, virtual=0)
    assert told("kdd", creating).endswith("Creating")


@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
def test_picture_must_be_drawn(tmp_path, full):
    """Also of a run that broke off early."""

    def sample(second, status="InService", current=1):
        return Sample(time=at(second), virtual=0.0, status=status, config="c", current=current, desired=current)

    samples = [sample(-5, "Creating", 0), *(sample(second) for second in range(-4, 50))]
    run = good_run()
    picture = plot.Picture(
        requests=[Point(time=at(second).timestamp(), value=72e3) for second in range(30)] if full else [],
        ours=samples if full else samples[:1],
        theirs=samples if full else [],
        decisions=run.decisions if full else [],
        stages=run.stages if full else [],
        speed=SPEED,
        title="A run",
        notes=[(at(45), "an update")] if full else [],
    )
    plot.draw(picture, path=tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_spans_must_follow_each_other():
    """A state lasts until the next is seen."""
    samples = [
        Sample(time=at(second), virtual=0, status=status, config="", current=0, desired=0)
        for second, status in ((0, "Creating"), (1, "Creating"), (2, "InService"), (3, "Updating"), (5, "Updating"))
    ]
    assert [
        (at(0), at(2), "Creating"),
        (at(2), at(3), "InService"),
        (at(3), at(5), "Updating"),
    ] == plot.spans(samples)
