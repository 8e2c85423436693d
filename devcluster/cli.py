"""The command line: what each command is for, and which function does it."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from devcluster import addons, binaries, cluster, image_builds, node, teardown
from devcluster.errors import DevclusterError
from devcluster.paths import REPOSITORY, locked, state_dir
from devcluster.progress import say, step

EPILOG = """\
environment:
  SAGEBRUSH_STATE   the running cluster's folder (default /var/lib/sagebrush-devcluster); `down` deletes it
  SAGEBRUSH_CACHE   binaries and images that survive `down` (default ~/.cache/sagebrush)
  KUBEBUILDER_ASSETS, PATH   Kubernetes 1.36 binaries found there are used instead of built ones

`up` and `down` need root; the first `up` on a machine builds Kubernetes from source and takes about ten minutes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors that the user can act on are printed without a traceback."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except DevclusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        advice = ": the cluster belongs to root, run this as root" if os.geteuid() != 0 else ""
        print(f"error: {error}{advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devcluster",
        description="A real single-node Kubernetes 1.36 on a bare Debian or Ubuntu machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_cluster_commands(commands)
    _add_image_commands(commands)
    return parser


def _add_cluster_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tools = commands.add_parser("tools", help="find or build the programs, and print where each one is")
    tools.add_argument("--only", metavar="NAMES", help=f"comma-separated, of: {','.join(binaries.PROGRAMS)}")
    tools.set_defaults(run=_tools)
    commands.add_parser("up", help="start the cluster, or what is missing of it").set_defaults(run=_up)
    down = commands.add_parser("down", help="stop the cluster and remove every trace of it")
    down.add_argument(
        "--force",
        action="store_true",
        help="the state folder was deleted by hand: take our cgroup and all KUBE-* and CNI-* chains, whoever's they are",
    )
    down.set_defaults(run=_down)
    commands.add_parser("leftovers", help="list traces of a cluster; exit 1 if there are any").set_defaults(
        run=_leftovers
    )
    commands.add_parser("status", help="say how the cluster is; exit 1 if it isn't healthy").set_defaults(run=_status)
    commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig").set_defaults(
        run=_kubeconfig
    )
    logs = commands.add_parser("logs", help="print the log of a component")
    logs.add_argument("component", choices=cluster.COMPONENTS)
    logs.add_argument("-f", "--follow", action="store_true", help="go on printing")
    logs.set_defaults(run=_logs)
    extras = commands.add_parser("addons", help="S3 server and Prometheus inside the cluster")
    extras.add_argument("action", choices=["up", "down"])
    extras.add_argument("--kubeconfig", type=Path, help="another cluster than the dev cluster")
    extras.add_argument(
        "--public-images", action="store_true", help="let the cluster pull the projects' own images (kind, cloud)"
    )
    extras.set_defaults(run=_addons)


def _add_image_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    build = commands.add_parser("build-image", help="build a target of the repository's Dockerfile")
    build.add_argument("--target", help="stage to build: operator or model-server")
    build.add_argument("--tag", required=True, help="such as sagebrush/operator:dev")
    build.add_argument("--context", type=Path, default=REPOSITORY, help="default: the repository")
    build.add_argument("-f", "--file", type=Path, help="default: Dockerfile in the context")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument(
        "--local-base", action="store_true", help="make the base image here without asking a registry for it"
    )
    build.add_argument("--load", action="store_true", help="then bring it into the cluster")
    build.set_defaults(run=_build_image)
    load = commands.add_parser("load-image", help="bring an image into the cluster")
    load.add_argument("image", nargs="+", metavar="TAR|TAG", help="a `docker save` archive, or a tag that was built")
    load.set_defaults(run=_load_image)
    commands.add_parser("addon-images", help="make and load the images of the add-ons").set_defaults(run=_addon_images)


def _tools(options: argparse.Namespace) -> int:
    names = options.only.split(",") if options.only else binaries.usual()
    for name, path in binaries.ensure(names).items():
        print(f"{name:24} {path}")
    return 0


def _up(_: argparse.Namespace) -> int:
    cluster.up()
    return 0


def _down(options: argparse.Namespace) -> int:
    with locked(cluster.lock_file()), step("removing the cluster"):
        found = teardown.down(force=options.force)
    return _report(found)


def _leftovers(_: argparse.Namespace) -> int:
    return _report(teardown.leftovers())


def _report(found: Sequence[str]) -> int:
    for line in found:
        print(f"found: {line}")
    if not found:
        say("nothing of the cluster is left")
    return 1 if found else 0


def _status(_: argparse.Namespace) -> int:
    found = cluster.problems()
    for line in found or [f"healthy: node {node.NODE_NAME} and DNS are ready, KUBECONFIG={cluster.kubeconfig_path()}"]:
        print(line)
    return 1 if found else 0


def _kubeconfig(_: argparse.Namespace) -> int:
    if not cluster.kubeconfig_path().exists():
        raise DevclusterError("there is no cluster: `make cluster-up` makes one")
    print(cluster.kubeconfig_path())
    return 0


def _logs(options: argparse.Namespace) -> int:
    log = state_dir() / "logs" / f"{options.component}.log"
    if not log.exists():
        raise DevclusterError(f"there is no log at {log}")
    if options.follow:
        return subprocess.run(["tail", "-n", "+1", "-f", str(log)], check=False).returncode
    sys.stdout.write(log.read_text(errors="replace"))
    return 0


def _addons(options: argparse.Namespace) -> int:
    if options.public_images and options.kubeconfig is None and not os.environ.get("KUBECONFIG"):
        raise DevclusterError("--public-images is for another cluster: name it by --kubeconfig or KUBECONFIG")
    given = options.kubeconfig or (Path(os.environ["KUBECONFIG"]) if options.public_images else None)
    kubeconfig = given or cluster.kubeconfig_path()
    if options.action == "up":
        addons.up(kubeconfig, public_images=options.public_images)
    else:
        addons.down(kubeconfig)
    return 0


def _build_image(options: argparse.Namespace) -> int:
    image_builds.build(
        tag=options.tag,
        target=options.target,
        context=options.context,
        dockerfile=options.file or options.context / "Dockerfile",
        arguments=options.build_arg,
        local_base=options.local_base,
    )
    if options.load:
        image_builds.load(options.tag)
    return 0


def _load_image(options: argparse.Namespace) -> int:
    for image in options.image:
        image_builds.load(image)
    return 0


def _addon_images(_: argparse.Namespace) -> int:
    image_builds.load_addon_images()
    return 0
