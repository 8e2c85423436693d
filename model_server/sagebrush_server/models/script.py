"""`code/inference.py` of an artifact: SageMaker's functions, found once when the model is loaded.

Semantics are those of sagemaker-inference-toolkit and of SageMaker's scikit-learn container (their sources): `model_fn`, then
`input_fn`, `predict_fn`, `output_fn` with defaults for the last three, or `transform_fn` instead of them.
"""

import asyncio
import importlib.util
import inspect
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.models import script_defaults
from sagebrush_server.models.errors import ModelError
from sagebrush_server.models.lean_imports import forget_lean_imports
from sagebrush_server.models.requirements import install_requirements
from sagebrush_server.models.script_context import Context
from sagebrush_server.models.script_replies import reply_of
from sagebrush_server.models.settings import LoadingSettings

_LOG = logging.getLogger(__name__)
_TEXT: Final = ("text/csv", "application/json")
"""Media types whose bodies the functions get as str (the toolkits' UTF8_TYPES)."""
Function = Callable[..., Any]


def load_script(root: Path, *, settings: LoadingSettings) -> "ScriptResponder":
    """Import the program of the model folder `root`, and let it load its model. Raises ModelError."""
    code = _code_folder(root, settings=settings)
    program = code / settings.program
    if not program.is_file():
        raise ModelError(f"there is no {settings.program} in {code} (SAGEMAKER_PROGRAM, SAGEMAKER_SUBMIT_DIRECTORY)")
    install_requirements(code / "requirements.txt", settings=settings)
    forget_lean_imports()
    module = _import(program, code=code)
    try:
        responder = ScriptResponder(module, model_dir=root, settings=settings)
    except ModelError:
        _forget(module, code)
        raise
    except Exception as problem:  # the user's code raises what it likes
        _forget(module, code)
        _LOG.exception("%s failed while the model was loaded", settings.program)
        raise ModelError(f"{settings.program}: {type(problem).__name__}: {problem}") from problem
    # An unloaded model leaves its names to the next one, which may be itself again.
    weakref.finalize(responder, _forget, module, code).atexit = False
    return responder


def _forget(module: ModuleType, code: Path) -> None:
    """Take the program's modules and folders out of the process."""
    for name, one in list(sys.modules.items()):
        file = getattr(one, "__file__", None)
        if one is module or (isinstance(file, str) and Path(file).is_relative_to(code)):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in (str(code), str(code / "lib"))]


def _code_folder(root: Path, *, settings: LoadingSettings) -> Path:
    given = settings.submit_directory
    if given is None:
        return root / "code"
    if "://" in given and not given.startswith("file://"):
        raise ModelError(
            f"SAGEMAKER_SUBMIT_DIRECTORY={given}: a folder is honoured here; put the code into the artifact's code/"
        )
    return Path(given.removeprefix("file://"))


def _import(program: Path, *, code: Path) -> ModuleType:
    """Import the program under its own name, so that what it pickled in training finds its classes."""
    name = ".".join(program.relative_to(code).with_suffix("").parts)
    already = sys.modules.get(name)
    if already is not None:
        raise ModelError(
            f"{program}: a module {name} is loaded already ({getattr(already, '__file__', 'built in')}); one process "
            "serves one model with code of its own, under a name of its own"
        )
    for folder in (code / "lib", code):  # as SageMaker's containers have them on the path
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(name, program)
    if spec is None or spec.loader is None:
        raise ModelError(f"{program} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        _LOG.exception("%s can't be imported", program)
        hint = ""
        if isinstance(problem, ModuleNotFoundError):
            hint = "; name its package in code/requirements.txt and add Requirements to spec.model.allow"
        raise ModelError(f"{program.name} can't be imported: {type(problem).__name__}: {problem}{hint}") from problem
    return module


class _Step:
    """One of the user's functions, with the `context` argument where it takes one. What it takes is looked up once."""

    def __init__(self, function: Function, *, takes: int, context: Context) -> None:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # written in C: it says nothing of its arguments
            parameters = None
        self.with_context = parameters is not None and self._takes_context(function, parameters, takes=takes)
        self.is_async = inspect.iscoroutinefunction(function)
        self.call: Function = (lambda *given: function(*given, context)) if self.with_context else function

    @staticmethod
    def _takes_context(function: Function, parameters: list[inspect.Parameter], *, takes: int) -> bool:
        """Whether there is one argument more than it `takes`. Raises ModelError where it can't be called at all."""
        if any(one.kind is one.VAR_POSITIONAL for one in parameters):
            return False
        places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        least = sum(one.default is one.empty for one in places)
        if len(places) < takes or least > takes + 1:
            name = getattr(function, "__name__", str(function))
            raise ModelError(f"{name} takes {least} arguments; it is called with {takes}, or {takes + 1} with context")
        return len(places) > takes


class ScriptResponder:
    """Answers requests with the functions of a program (implements `Responder`)."""

    algorithm = "inference.py"
    fork_safe = False

    def __init__(self, module: ModuleType, *, model_dir: Path, settings: LoadingSettings) -> None:
        """Find the functions and load the model. Raises ModelError for a program without, and what its code raises."""
        self.algorithm = settings.program
        self._default_accept = settings.default_accept
        self._context = Context(str(model_dir))
        steps = {
            name: _Step(function, takes=takes, context=self._context)
            for name, takes in (
                ("pre_model_fn", 1),
                ("model_fn", 1),
                ("model_warmup_fn", 2),
                ("input_fn", 2),
                ("predict_fn", 2),
                ("output_fn", 2),
                ("transform_fn", 4),
            )
            if callable(function := getattr(module, name, None))
        }
        if "model_fn" not in steps:
            raise ModelError(f"{settings.program} has no model_fn(model_dir), which loads the model")
        several = [name for name in ("input_fn", "predict_fn", "output_fn") if name in steps]
        if "transform_fn" in steps and several:
            raise ModelError(f"{settings.program} has transform_fn, which can't be used beside {', '.join(several)}")
        if "pre_model_fn" in steps:
            _now(steps["pre_model_fn"].call(str(model_dir)))
        self._model = _now(steps["model_fn"].call(str(model_dir)))
        if "model_warmup_fn" in steps:
            _now(steps["model_warmup_fn"].call(str(model_dir), self._model))
        self._transform = steps.get("transform_fn")
        self._input, self._predict, self._output = (
            steps.get(name) or _Step(default, takes=2, context=self._context)
            for name, default in (
                ("input_fn", script_defaults.input_fn),
                ("predict_fn", script_defaults.predict_fn),
                ("output_fn", script_defaults.output_fn),
            )
        )
        used = (self._transform,) if self._transform else (self._input, self._predict, self._output)
        self._is_async = any(step.is_async for step in used if step)
        self._needs_context = any(step.with_context for step in used if step)

    def respond(self, invocation: Invocation) -> Reply | Awaitable[Reply]:
        """Answer one request. Raises RequestError for one that the functions refuse."""
        content_type = invocation.content_type or "application/json"
        accept = invocation.accept
        if not accept or accept == "*/*":
            accept = self._default_accept
        body: bytes | str = invocation.body
        if content_type.partition(";")[0].strip().lower() in _TEXT:
            try:
                body = invocation.body.decode()
            except UnicodeDecodeError as problem:
                raise RequestError(400, message=f"the body is not UTF-8: {problem}") from problem
        if self._needs_context:
            self._context.begin(invocation)
        if self._is_async:
            return self._respond_later(body, content_type=content_type, accept=accept)
        if self._transform is not None:
            answer = self._transform.call(self._model, body, content_type, accept)
        else:
            answer = self._output.call(self._predict.call(self._read(body, content_type), self._model), accept)
        return self._finished(answer, accept=accept)

    async def _respond_later(self, body: bytes | str, *, content_type: str, accept: str) -> Reply:
        """The same where a function is a coroutine function."""
        if self._transform is not None:
            answer = await _later(self._transform.call(self._model, body, content_type, accept))
        else:
            try:
                data = await _later(self._input.call(body, content_type))
            except Exception as problem:
                if (refusal := _refusal(problem)) is None:
                    raise
                raise refusal from problem
            prediction = await _later(self._predict.call(data, self._model))
            answer = await _later(self._output.call(prediction, accept))
        return self._finished(answer, accept=accept)

    def _read(self, body: bytes | str, content_type: str) -> Any:
        try:
            return self._input.call(body, content_type)
        except Exception as problem:
            if (refusal := _refusal(problem)) is None:
                raise
            raise refusal from problem

    def _finished(self, answer: Any, *, accept: str) -> Reply:
        reply = reply_of(answer, accept=accept)
        return self._context.applied(reply) if self._needs_context else reply

    def self_test(self) -> None:
        """Nothing is known of what the program takes; `model_fn` and `model_warmup_fn` have run."""


def _refusal(problem: Exception) -> RequestError | None:
    """What an exception of `input_fn` is to the client: a ValueError is a body that can't be read.

    The toolkits' own errors say by `status_code` what they are. Anything else is the code's fault, and no refusal.
    """
    if isinstance(problem, RequestError):
        return problem
    status = getattr(problem, "status_code", 400 if isinstance(problem, ValueError) else None)
    if isinstance(status, int) and 400 <= status < 500:
        text = getattr(problem, "message", None) or str(problem) or type(problem).__name__
        return RequestError(status, message=str(text))
    return None


def _now(result: Any) -> Any:
    """The value of what may be a coroutine, while the model is loaded, in a thread without an event loop."""

    async def value() -> Any:
        return await result

    return asyncio.run(value()) if inspect.isawaitable(result) else result


async def _later(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
