"""Turns pydantic's errors into problems that people can act on. No input value ever gets into one."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from runtime.settings.problems import Problem, unknown_key

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """A path as people write it.

    >>> dotted(("providers", "openai", "models", 0))
    'providers.openai.models[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def problems_of(error: ValidationError, root: type[BaseModel], where: Callable[[Path], str]) -> list[Problem]:
    """One problem per error. `where` tells the file and line, or the variable, that a path came from."""
    found: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False, include_context=True, include_input=False):
        path = tuple(detail["loc"])
        if detail["type"] == "extra_forbidden":
            what = unknown_key(str(path[-1]), keys_at(root, path[:-1]))
        elif detail["type"] in ("literal_error", "enum"):
            what = f"should be {detail['ctx']['expected']}"
        elif detail["type"] == "missing":
            what = "is needed here"
        else:
            what = detail["msg"].removeprefix("Input ")
        problem = Problem(where(path), dotted(path), what)
        found[problem.path, problem.what] = problem
    return list(found.values())


def keys_at(root: type[BaseModel], path: Path) -> list[str]:
    """The keys that are known at a path of the settings; none where any name may stand."""
    hint: Any = root
    for part in path:
        hint = _step(hint, part)
    model = _model(hint)
    return list(model.model_fields) if model else []


def _step(hint: Any, part: str | int) -> Any:
    if model := _model(hint):
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    if typing.get_origin(hint) in (dict, tuple, list):
        return typing.get_args(hint)[1 if typing.get_origin(hint) is dict else 0]
    return None


def _model(hint: Any) -> type[BaseModel] | None:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)
