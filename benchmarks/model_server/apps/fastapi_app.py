"""FastAPI, with the body read as it comes: its quickest form."""

import os

import joblib
import orjson
from fastapi import FastAPI, Request, Response

app = FastAPI()
model = joblib.load(os.path.join(os.environ["MODEL_FOLDER"], "model.joblib"))


@app.get("/ping")
async def ping():
    """Say that it is ready."""
    return Response(status_code=200)


@app.post("/invocations")
async def invocations(request: Request):
    """Answer CSV and `{"instances": [[…], …]}`."""
    body = await request.body()
    if request.headers["content-type"] == "text/csv":
        rows = [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
    else:
        rows = orjson.loads(body)["instances"]
    answer = {"predictions": model.predict_proba(rows)[:, 1].tolist()}
    return Response(orjson.dumps(answer), media_type="application/json")
