"""Hyperparameters that SageMaker would refuse minutes after the job has been paid for, told before it starts."""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches

from sagebrush.core.sagemaker.algorithms.tables import Rule, Table, ValueType, table

_RESERVED = ("_", "sagemaker_")  # SageMaker's own: _tuning_objective_metric, _num_gpus, sagemaker_program
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN = 40  # characters of a wrong value that a message repeats


def problems(algorithm: str, hyper_parameters: Mapping[str, str]) -> list[str]:
    """
    What is wrong with the hyperparameters of a built-in algorithm: one sentence each, naming the field; empty when fine.

    Checked is what AWS documents (the page that the algorithm's table names) and the SageMaker Python SDK 2.257.6
    refuses; for xgboost also what the open-source container refuses. Names that SageMaker reserves are always fine, and
    so are names unknown to us with xgboost. The order is the table's, then unknown names by alphabet.
    Raises SpecError for an algorithm that isn't built in.
    """
    known = table(algorithm)
    found = []
    for name, rule in known.applicable(hyper_parameters).items():
        value = hyper_parameters.get(name)
        if value is None and rule.required:
            found.append(f"spec.hyperParameters.{name} is required{_condition(rule)}: {_legal(rule)}")
        elif value is not None and not _fits(rule, value):
            found.append(f"spec.hyperParameters.{name}: {_shown(value)} is not {_legal(rule)}{_condition(rule)}")
    if not known.others_allowed:
        found += _unknown(algorithm, known, hyper_parameters)
    return found


def _unknown(algorithm: str, known: Table, hyper_parameters: Mapping[str, str]) -> list[str]:
    names = {rule.name for rule in known.rules}
    found = []
    for name in sorted(hyper_parameters):
        if name in names or name.startswith(_RESERVED):
            continue
        near = get_close_matches(name.lower(), sorted(names), n=1)
        advice = f"did you mean {near[0]}?" if near else f"see {known.source}"
        found.append(f"spec.hyperParameters.{_shown(name)}: {algorithm} has no such hyperparameter; {advice}")
    return found


def _fits(rule: Rule, value: str) -> bool:
    text = value.strip()
    match rule.type:
        case ValueType.TEXT:
            return True
        case ValueType.CATEGORICAL:
            # Python's SDK writes booleans as True and False, and the algorithms take them.
            return text in rule.choices or (text.lower() in {"true", "false"} and text.lower() in rule.choices)
        case ValueType.INTEGER:
            return text in rule.words or (_INTEGER.fullmatch(text) is not None and _inside(rule, int(text)))
        case ValueType.CONTINUOUS:
            return text in rule.words or (_NUMBER.fullmatch(text) is not None and _inside(rule, float(text)))


def _inside(rule: Rule, number: float) -> bool:
    return (
        (isinstance(number, int) or math.isfinite(number))
        and (rule.minimum is None or number >= rule.minimum)
        and (rule.maximum is None or number <= rule.maximum)
        and (rule.above is None or number > rule.above)
        and (rule.below is None or number < rule.below)
    )


def _legal(rule: Rule) -> str:
    """What *rule* accepts, to follow "is not" or a colon."""
    if rule.type is ValueType.TEXT:
        return "any text"
    if rule.type is ValueType.CATEGORICAL:
        return f"one of {', '.join(rule.choices)}" if len(rule.choices) > 1 else rule.choices[0]
    noun = "an integer" if rule.type is ValueType.INTEGER else "a number"
    if rule.minimum is not None and rule.maximum is not None:
        parts = [f"from {rule.minimum} to {rule.maximum}"]
    else:
        bounds = (
            ("of at least", rule.minimum),
            ("above", rule.above),
            ("of at most", rule.maximum),
            ("below", rule.below),
        )
        parts = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return " or ".join((" ".join((noun, " and ".join(parts))).strip(), *rule.words))


def _condition(rule: Rule) -> str:
    if not rule.when:
        return ""
    return " with " + " and ".join(f"{name} {' or '.join(legal)}" for name, legal in rule.when.items())


def _shown(value: str) -> str:
    if not value.strip():
        return "an empty value"
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
