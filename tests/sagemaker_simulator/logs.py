"""CloudWatch Logs: the last words of containers that failed."""

from typing import Any

from tests.sagemaker_simulator.calls import Call, operation, page
from tests.sagemaker_simulator.errors import AwsError


@operation("logs", "FilterLogEvents")
def filter_log_events(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Events of a group, oldest first; the pattern is taken as plain text."""
    group = request.get("logGroupName") or str(request.get("logGroupIdentifier", "")).rpartition(":log-group:")[2]
    if group not in call.region.logs:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    streams, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix", "")
    events = [
        {**event, "eventId": str(number)}
        for number, event in enumerate(call.region.logs[group])
        if (not streams or event["logStreamName"] in streams)
        and event["logStreamName"].startswith(prefix)
        and request.get("startTime", 0) <= event["timestamp"] <= request.get("endTime", event["timestamp"])
        and request.get("filterPattern", "").strip('"') in event["message"]
    ]
    sized = {"NextToken": request.get("nextToken"), "MaxResults": request.get("limit", 10000)}
    shown, token = page(sized, sorted(events, key=lambda event: event["timestamp"]), most=10000)
    return {"events": shown, "searchedLogStreams": [], "nextToken": token}
