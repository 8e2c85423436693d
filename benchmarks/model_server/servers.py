"""All servers of the comparison by their keys, in the order of the table."""

from benchmarks.model_server import ours, peers
from benchmarks.model_server.constant import NGINX

SERVERS = {
    server.key: server
    for server in (
        NGINX,
        peers.SAGEMAKER,
        peers.FLASK,
        peers.KSERVE,
        peers.KSERVE_V2,
        peers.MLSERVER,
        peers.BENTOML,
        peers.FASTAPI,
        ours.LINEAR,
        ours.SCIKIT_LEARN,
        ours.XGBOOST,
        ours.SCRIPT,
    )
}
