"""All servers of the comparison by their keys, in the order of the table."""

from benchmarks.model_server.constant import NGINX
from benchmarks.model_server.ours import LINEAR

SERVERS = {server.key: server for server in (NGINX, LINEAR)}
