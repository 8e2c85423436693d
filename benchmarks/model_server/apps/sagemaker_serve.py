"""Start nginx and gunicorn as sagemaker-containers does, with its files in a folder of ours instead of /etc and /tmp."""

import sys
from pathlib import Path

import sagemaker_compatibility  # noqa: F401 – before sagemaker-containers
from sagemaker_containers import _server

folder = sys.argv[1]
template = Path(_server.nginx_config_template_file).read_text()
# One CPU is given to the server, where nginx would count those of the machine.
template = template.replace("worker_processes auto", "worker_processes 1").replace("/tmp/", f"{folder}/")
Path(folder, "template").write_text(template)
_server.nginx_config_template_file = f"{folder}/template"
_server.nginx_config_file = f"{folder}/nginx.conf"
_server.UNIX_SOCKET_BIND = f"unix:{folder}/gunicorn.sock"
_server.start("sagemaker_wsgi:main")
