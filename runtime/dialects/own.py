"""A provider's API in one module of yours: `providers.NAME.dialect: my_module:MyDialect`, for kind `custom`.

    class Acme(Plain):
        def encode(self, request, target): ...     a Request, as the bytes that Acme takes
        def decode(self, reply, target): ...       Acme's bytes, as a Completion or a Failure

`Plain` answers for everything else that a dialect may be asked; override what your API has. A whole reply to a request
that wanted a stream is passed on as one piece. CONTRIBUTING.md has an example that a test follows.

Settings cross between processes, code does not: each process imports the module by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib import import_module
from typing import cast

from runtime.dialects.base import Dialect, Target
from runtime.dialects.encoding import MARK, beyond_text, get, post
from runtime.dialects.plain import Plain, cannot
from runtime.dialects.registry import DIALECTS
from runtime.dialects.status import malformed, object_of, refused
from runtime.outcome import Failure
from runtime.request import Request, Role, TextPart

__all__ = ["BadDialect", "Plain", "find", "get", "malformed", "object_of", "post", "refused", "text_alone"]


class BadDialect(ValueError):
    """Why there is no such dialect, for whoever wrote the settings."""


def text_alone(request: Request, target: Target, *, carries: Collection[str] = ()) -> list[str] | Failure:
    """For an API of turns of text, and the fields that it `carries`: what of this request it has no place for, by name;
    a failure where the request would mean something else without it (pictures, tools, a schema)."""
    for position, message in enumerate(request.messages):
        if message.role is Role.TOOL or any(not isinstance(part, TextPart) for part in message.parts):
            return cannot(target, "takes text alone; ask another provider", param=f"messages[{position}].content")
    if request.tools:
        return cannot(target, "calls no tools; leave them out, or ask another provider", param="tools[0]")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        return cannot(target, "keeps to no JSON schema; ask another provider", param="response_format")
    return [
        *(name for name in beyond_text(request) if name not in carries),
        *(path for path in request.extra if not path.startswith(MARK)),
    ]


def find(name: str) -> Dialect:
    """The dialect of this name, or at this `module:Class`. Raises `BadDialect`."""
    if name in DIALECTS:
        return DIALECTS[name]
    module, colon, part = name.partition(":")
    if not colon:
        raise BadDialect(f"there is no dialect `{name}`; there are {', '.join(DIALECTS)}, and yours as module:Class")
    try:
        made = getattr(import_module(module), part)
        made = made() if inspect.isclass(made) else made
    except ModuleNotFoundError as error:
        raise BadDialect(
            f"`{name}` cannot be imported: there is no module `{error.name}`; is its folder on PYTHONPATH where "
            "Raygate was started?"
        ) from error
    except AttributeError as error:
        raise BadDialect(f"`{name}` cannot be imported: `{module}` has no `{part}`") from error
    except Exception as error:
        raise BadDialect(f"`{name}` cannot be made: {type(error).__name__} in `{module}`") from error
    if missing := [one for one in _ASKED if not callable(getattr(made, one, None))]:
        raise BadDialect(f"`{name}` has no `{missing[0]}`; make its class one of runtime.dialects.own:Plain")
    return cast(Dialect, made)


_ASKED = tuple(name for name, one in vars(Plain).items() if callable(one) and not name.startswith("_"))
