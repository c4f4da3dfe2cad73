"""What an answer says of its model by itself, without anybody's judgement. Each is weak, and each has a bias:

    signal       quality  weight   bias
    error           0       0.5    says how a provider was, more than how good its model is; throttling is no error
    refusal         0.2     0.3    right answers to forbidden questions are refusals, too
    truncated       0.3     0.3    by the model's own limit; a third where the caller wanted it short
    broken json     0       0.8    against the schema that was asked for; nearly as sure as a judgement
    good json       0.8     0.1    says nothing of the content
    asked again     0.2     0.1    of the answer before, by the same key within two minutes; people also ask twice to
                                   compare, and programs to sample (`runtime.learning.again`)

An answer with none of them teaches nothing: that a model answered at all does not make it right. Feedback counts 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson

from runtime.learning.values import Signal
from runtime.outcome import HANDLING, Attempt, Blame, Completion, Failure, FailureKind, FinishReason, Outcome
from runtime.request import Json, Request, ResponseFormat

ERROR = (0.0, 0.5)
REFUSAL = (0.2, 0.3)
TRUNCATED = (0.3, 0.3)
CUT_SHORT = (0.3, 0.1)
BROKEN_JSON = (0.0, 0.8)
GOOD_JSON = (0.8, 0.1)
ASKED_AGAIN = (0.2, 0.1)


def signals_of(request: Request, outcome: Outcome) -> tuple[Signal, ...]:
    """Of all attempts that were made, and of the answer."""
    return (*_of_attempts(outcome.attempts), *(_of_answer(request, outcome)))


def _of_attempts(attempts: Sequence[Attempt]) -> Iterator[Signal]:
    for one in attempts:
        name = f"{one.provider}/{one.model}"
        if one.outcome == FailureKind.CONTENT_FILTERED:
            yield _signal(name, REFUSAL, "refusal")
        elif isinstance(one.outcome, FailureKind) and HANDLING[one.outcome].blame is Blame.BAD:
            yield _signal(name, ERROR, "error")


def _of_answer(request: Request, outcome: Outcome) -> Iterator[Signal]:
    if isinstance(outcome, Failure) or not outcome.choices:
        return
    name, first = answered_by(outcome), outcome.choices[0]
    if first.refusal or first.finish_reason is FinishReason.CONTENT_FILTER:
        yield _signal(name, REFUSAL, "refusal")
    elif first.finish_reason is FinishReason.LENGTH:
        yield _signal(name, TRUNCATED if request.sampling.max_tokens is None else CUT_SHORT, "truncated")
    elif request.response_format is not None and request.response_format.kind != "text" and not first.tool_calls:
        good = _is_as_asked(first.text, request.response_format)
        yield _signal(name, GOOD_JSON if good else BROKEN_JSON, "good json" if good else "broken json")


def answered_by(completion: Completion) -> str:
    """Whom we asked for the answer. The provider may name its model more exactly than we do."""
    tried = completion.attempts[-1] if completion.attempts else None
    return f"{tried.provider}/{tried.model}" if tried else f"{completion.provider}/{completion.model}"


def _signal(name: str, what: tuple[float, float], why: str) -> Signal:
    return Signal(model=name, quality=what[0], weight=what[1], why=why)


def _is_as_asked(text: str, asked: ResponseFormat) -> bool:
    try:
        said: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) if asked.kind == "json_object" else fits(said, asked.schema)


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}


def fits(value: Json, schema: Json) -> bool:
    """Whether a value is of the shape that a JSON schema asks for: types, enumerations, properties, items.

    What else a schema may say is not looked at: a value that breaks only that passes.
    """
    if not isinstance(schema, Mapping):
        return True
    if isinstance(choices := schema.get("enum"), list) and value not in choices:
        return False
    named = schema.get("type")
    kinds = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    if kinds and not any(_is_a(value, kind) for kind in kinds):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties")
        shapes = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        if isinstance(required, list) and any(name not in value for name in required):
            return False
        if schema.get("additionalProperties") is False and any(name not in shapes for name in value):
            return False
        return all(fits(value[name], shape) for name, shape in shapes.items() if name in value)
    return not isinstance(value, list) or all(fits(one, schema.get("items")) for one in value)


def _is_a(value: Json, kind: object) -> bool:
    wanted = _TYPES.get(kind) if isinstance(kind, str) else None
    if wanted is None:
        return True
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    return isinstance(value, wanted) or (kind == "integer" and isinstance(value, float) and value.is_integer())
