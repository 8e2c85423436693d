"""A user's own script: all four functions, with Python code for each value of each request."""

import json
import math
import os

import joblib
import numpy as np


def model_fn(model_dir):
    """Load the model."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(request_body, request_content_type):
    """Read CSV value by value; what is missing or not finite counts as 0."""
    if request_content_type != "text/csv":
        raise ValueError(f"{request_content_type} is not supported")
    text = request_body.decode() if isinstance(request_body, bytes) else request_body
    rows = []
    for line in text.splitlines():
        row = []
        for cell in line.split(","):
            value = float(cell) if cell.strip() else 0.0
            row.append(value if math.isfinite(value) else 0.0)
        rows.append(row)
    return np.array(rows)


def predict_fn(input_data, model):
    """Return the probability of an attack for each row."""
    return model.predict_proba(input_data)[:, 1]


def output_fn(prediction, accept):
    """Say in words what each row is."""
    results = []
    for score in prediction:
        if score >= 0.9:
            verdict = "attack"
        elif score >= 0.5:
            verdict = "suspicious"
        else:
            verdict = "normal"
        results.append({"score": float(score), "verdict": verdict})
    return json.dumps({"results": results}), "application/json"
