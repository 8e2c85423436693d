"""KServe's way for a model of one's own: a subclass of Model behind its ModelServer, V1 and V2."""

import os
import sys

import joblib
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class Scores(Model):
    """The probability of class 1."""

    def load(self):
        """Load the model."""
        self.model = joblib.load(os.path.join(os.environ["MODEL_FOLDER"], "model.joblib"))
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        """Answer V1's dictionary and V2's request."""
        if isinstance(payload, InferRequest):
            scores = self.model.predict_proba(payload.inputs[0].as_numpy())[:, 1]
            output = InferOutput(name="scores", shape=list(scores.shape), datatype="FP64", data=scores.tolist())
            return InferResponse(response_id=generate_uuid(), model_name=self.name, infer_outputs=[output])
        scores = self.model.predict_proba(np.array(payload["instances"]))[:, 1]
        return {"predictions": scores.tolist()}


if __name__ == "__main__":
    model = Scores("model")
    model.load()
    ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False).start([model])
