"""Flask, as most people write it."""

import os

import joblib
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
model = joblib.load(os.path.join(os.environ["MODEL_FOLDER"], "model.joblib"))


@app.get("/ping")
def ping():
    """Say that it is ready."""
    return Response(status=200)


@app.post("/invocations")
def invocations():
    """Answer CSV and `{"instances": [[…], …]}`."""
    if request.mimetype == "text/csv":
        lines = request.get_data(as_text=True).splitlines()
        rows = [[float(cell) for cell in line.split(",")] for line in lines]
    else:
        rows = request.get_json()["instances"]
    return jsonify({"predictions": model.predict_proba(rows)[:, 1].tolist()})
