"""CloudWatch alarms, as far as step policies need them; evaluated by the scaler."""

from typing import Any

from tests.sagemaker_simulator.calls import Call, operation, page
from tests.sagemaker_simulator.errors import AwsError
from tests.sagemaker_simulator.scaler import COMPARISONS, ensure_ticking


@operation("cloudwatch", "PutMetricAlarm")
def put_metric_alarm(call: Call, request: dict[str, Any]) -> None:
    """An upsert by name; metrics of other namespaces never have data here."""
    if request["ComparisonOperator"] not in COMPARISONS:
        raise AwsError("ValidationError", "Anomaly detection is not supported here.")
    period = request.get("Period", 60)
    if period not in {10, 20, 30} and period % 60:
        raise AwsError("InvalidParameterValue", "Period must be 10, 20, 30 or a multiple of 60.")
    if not request.get("Metrics") and not ("Threshold" in request and "MetricName" in request):
        raise AwsError("InvalidParameterCombination", "MetricName and Threshold are required.")
    name = request["AlarmName"]
    arn = f"arn:aws:cloudwatch:{call.region.name}:{call.region.account}:alarm:{name}"
    defaults = {
        "AlarmName": name,
        "AlarmArn": arn,
        "StateValue": "INSUFFICIENT_DATA",
        "Namespace": "",
        "MetricName": "",
    }
    call.region.alarms[name] = {**defaults, "Period": period, "Threshold": 0.0, "EvaluationPeriods": 1, **request}
    ensure_ticking(call.world)


@operation("cloudwatch", "DescribeAlarms")
def describe_alarms(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    found = [
        alarm
        for name, alarm in call.region.alarms.items()
        if (not request.get("AlarmNames") or name in request["AlarmNames"])
        and name.startswith(request.get("AlarmNamePrefix", ""))
        and request.get("StateValue", alarm["StateValue"]) == alarm["StateValue"]
    ]
    shown, token = page({**request, "MaxResults": request.get("MaxRecords", 50)}, found)
    return {"MetricAlarms": shown, "CompositeAlarms": [], "NextToken": token}


@operation("cloudwatch", "DeleteAlarms")
def delete_alarms(call: Call, request: dict[str, Any]) -> None:
    for name in request["AlarmNames"]:
        if name not in call.region.alarms:
            raise AwsError("ResourceNotFound", f"Alarm {name} does not exist.", 404)
    for name in request["AlarmNames"]:
        del call.region.alarms[name]
