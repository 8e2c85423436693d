"""nginx with one worker, answering constants of the size of our answers: the limit that no model server can pass."""

from collections.abc import Sequence

from benchmarks.model_server import wires
from benchmarks.model_server.server import Place, Server
from benchmarks.model_server.wires import Wire

_SIZES = (1, 100)
_LONGEST_WORD = 3000
"""Characters; nginx reads its configuration 4,096 at a time, and a word must fit."""
_SCORE = 0.8414709848078965


def answer(rows: int) -> bytes:
    """Return the constant for so many rows."""
    row = f'{{"score":{_SCORE},"predicted_label":1}}'
    return f'{{"predictions":[{",".join([row] * rows)}]}}'.encode()


def _expected(scores: Sequence[float]) -> bytes:
    return answer(len(scores))


def _location(rows: int) -> str:
    text = answer(rows).decode()
    pieces = [text[at : at + _LONGEST_WORD] for at in range(0, len(text), _LONGEST_WORD)]
    sets = "".join(f"set $piece_{index} '{piece}'; " for index, piece in enumerate(pieces))
    whole = "".join(f"$piece_{index}" for index in range(len(pieces)))
    return f"location = /{rows} {{ {sets}return 200 '{whole}'; }}"


def _command(place: Place) -> list[str]:
    locations = "\n".join(_location(rows) for rows in _SIZES)
    config = f"""
daemon off;
worker_processes 1;
pid {place.folder}/pid;
error_log {place.folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  client_body_temp_path {place.folder}/body;
  proxy_temp_path {place.folder}/proxy;
  fastcgi_temp_path {place.folder}/fastcgi;
  uwsgi_temp_path {place.folder}/uwsgi;
  scgi_temp_path {place.folder}/scgi;
  server {{
    listen 127.0.0.1:{place.port} backlog=2048;
    client_body_buffer_size 64k;
    location = /ping {{ return 200; }}
    {locations}
  }}
}}
"""
    (place.folder / "nginx.conf").write_text(config)
    return ["nginx", "-e", f"{place.folder}/error.log", "-c", f"{place.folder}/nginx.conf"]


NGINX = Server(
    key="nginx",
    title="nginx, a constant",
    needs={"nginx": "nginx-light"},
    command=_command,
    json=Wire(path="/{rows}", content_type="application/json", body=wires.json_features, numbers=_expected),
    csv=Wire(path="/{rows}", content_type="text/csv", body=wires.csv, numbers=_expected),
    models={"linear": "linear"},
    constant=True,
)
