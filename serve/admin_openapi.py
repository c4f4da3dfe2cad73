"""The admin API in the words of OpenAPI: each of `admin.WAYS`, its bodies, and what is answered.

Bodies are described by the models that read them; for answers, what stands here is checked in tests against real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from runtime.events import TYPES
from runtime.ledger.accounts import Counted, Scope
from runtime.ledger.export import FIELDS, Format
from runtime.ledger.periods import Period
from runtime.ledger.report import BY
from runtime.ledger.store.tally import MEASURES
from serve.admin import EVENTS, FILES, LEARNING, PREFIX, WAYS, Way
from serve.admin_learning import LINES, ZIP
from serve.events import LARGEST

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer"}
_REAL: Json = {"type": "number"}
_YES_OR_NO: Json = {"type": "boolean"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_PERIOD: Json = {"enum": [each.value for each in Period]}

QUERY: Mapping[str, Json] = {
    "last": {"description": "How far back: `24h`, `7d`, `4w`.", "schema": {**_TEXT, "pattern": r"^\d{1,5}[hdw]$"}},
    "by": {"description": f"Cut by these, with commas between: {', '.join(BY)}.", "schema": _TEXT},
    "each": {"description": "A sum for each of these; `total` for one.", "schema": _PERIOD},
    "limit": {"description": "At most so many.", "schema": {**_WHOLE, "minimum": 1, "maximum": 1_000}},
    "after": {"description": "Those whose `seq` is larger.", "schema": {**_WHOLE, "minimum": 0}},
    "models": {"description": "As provider/model, with commas between.", "schema": _TEXT},
    "format": {
        "description": "How it is written; `csv` unless said.",
        "schema": {"enum": [one.value for one in Format]},
    },
    "who": {
        "description": "By what name others know who learned it; else ORG@HOST.",
        "schema": {**_TEXT, "pattern": r"^[A-Za-z0-9_.@:+-][A-Za-z0-9_.@:+/-]{0,99}$"},
    },
    "org": {"description": "Whose; else the organisation of the key that asks.", "schema": _TEXT},
    "type": {
        "description": f"Of these types alone, with commas between: {', '.join(TYPES)}.",
        "schema": _TEXT,
    },
    "prompts": {
        "description": "`true`: with the prompts of requests, as the hooks left them.",
        "schema": {"enum": ["true", "false"]},
    },
    "most": {
        "description": "So many events may wait for this client before the oldest are lost.",
        "schema": {**_WHOLE, "minimum": 1, "maximum": LARGEST},
    },
    "snapshot": {"description": "Which; else the last one before what holds now.", "schema": _WHOLE},
}
"""The parameters of addresses. What is not among them is a filter: only what has this value."""

NEEDED = ("models",)

PATH: Mapping[str, Json] = {
    "id": _TEXT,
    "scope": {"enum": [scope.value for scope in Scope]},
    "period": _PERIOD,
}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _all(**properties: Json) -> Json:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _some(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_RATE = _all(**dict.fromkeys(("requests_per_min", "tokens_per_min", "concurrent"), _or_null(_WHOLE)))
_HELD = {"budgets": _some(_ref("Budget")), "rate": _RATE}
_KEY = {
    **dict.fromkeys(("id", "shown", "name", "team", "org"), _TEXT),
    **dict.fromkeys(("tags", "models", "routes", "networks"), _TEXTS),
    **_HELD,
    "admin": _YES_OR_NO,
    "created_at": _REAL,
    "expires_at": _or_null(_REAL),
    "revoked": _YES_OR_NO,
}
_ZIP: Json = {ZIP.decode(): {"schema": {**_TEXT, "format": "binary"}}}
_IMPORTED = {
    **dict.fromkeys(("request_id", "who", "embedder"), _TEXT),
    **dict.fromkeys(("learned_at", "imported_at", "outcomes"), _REAL),
    "patterns": _WHOLE,
    **dict.fromkeys(("models", "adapters"), _some(_TEXT)),
}
_BELIEVED = {"quality": _or_null(_REAL), "doubt": _or_null(_REAL)}
_SUMS = _all(**dict.fromkeys(MEASURES, _WHOLE), cost_usd=_or_null(_REAL))
_NULLABLE = _or_null({"type": ["string", "integer", "number", "array", "object"]})

ANSWERS: Mapping[str, Json] = {
    "Budget": _all(period=_PERIOD, limit_usd=_REAL, limit_nanousd=_WHOLE, warn_at=_REAL, hard=_YES_OR_NO),
    "Key": _all(**_KEY),
    "NewKey": _all(**_KEY, key={**_TEXT, "description": "The text that callers send. It is shown this once."}),
    "Keys": _all(keys=_some(_ref("Key"))),
    "Team": _all(id=_TEXT, name=_TEXT, org=_TEXT, **_HELD),
    "Org": _all(id=_TEXT, name=_TEXT, **_HELD),
    "Accounts": _all(teams=_some(_ref("Team")), orgs=_some(_ref("Org"))),
    "Removed": _all(removed=_PERIOD),
    "Limits": _all(
        limits=_some(
            _all(
                limit=_TEXT,
                scope=PATH["scope"],
                of=_TEXT,
                counts={"enum": [counted.value for counted in Counted]},
                period=_or_null(_PERIOD),
                **dict.fromkeys(("amount", "used", "lent", "lost"), _WHOLE),
                hard=_YES_OR_NO,
                ends_ms=_or_null(_WHOLE),
            )
        )
    ),
    "Spend": _all(
        since_ms=_WHOLE,
        until_ms=_WHOLE,
        each=_PERIOD,
        by=_TEXTS,
        total=_SUMS,
        lines=_some({**_SUMS, "description": "With the value of each dimension, and `start_ms` of its period."}),
        trend=_some(_all(before_nanousd=_WHOLE, change=_or_null(_REAL), certain=_YES_OR_NO)),
        projection=_or_null(
            _all(
                days=_WHOLE,
                expected_usd=_REAL,
                low_usd=_or_null(_REAL),
                high_usd=_or_null(_REAL),
                learned_days=_WHOLE,
                unpriced=_WHOLE,
            )
        ),
    ),
    "Tail": _all(seq=_WHOLE, rows=_some(_all(**dict.fromkeys(FIELDS, _NULLABLE)))),
    "Rows": _all(rows=_some(_all(**dict.fromkeys(FIELDS, _NULLABLE)))),
    "Elsewhere": _all(
        spent_nanousd=_WHOLE,
        models=_some(
            _all(
                model=_TEXT,
                cost_nanousd=_or_null(_WHOLE),
                cost_usd=_or_null(_REAL),
                unpriced=_WHOLE,
                about=_YES_OR_NO,
                quality=_or_null(_REAL),
            )
        ),
    ),
    "Trail": _all(
        entries=_some(
            _all(
                seq=_WHOLE,
                at_ms=_WHOLE,
                who=_TEXT,
                what=_TEXT,
                subject=_TEXT,
                before=_or_null({"type": "object"}),
                after=_or_null({"type": "object"}),
            )
        )
    ),
    "LedgerState": _all(
        **dict.fromkeys(("epoch", "bytes", "under_way", "keys", "limits"), _WHOLE),
        lag_s=_or_null(_REAL),
        prices_as_of=_or_null(_TEXT),
    ),
    "Imported": _all(org=_TEXT, paused=_YES_OR_NO, known=_some(_TEXT), **_IMPORTED),
    "LearningState": _all(
        org=_TEXT,
        **dict.fromkeys(("paused", "learns"), _YES_OR_NO),
        **dict.fromkeys(("prompts", "warm_up", "learned", "remembered"), _WHOLE),
        judged=_REAL,
        models={"type": "object", "additionalProperties": _all(quality=_REAL, doubt=_REAL)},
        signals={"type": "object", "additionalProperties": _WHOLE},
        imports=_some(_all(teaches=_YES_OR_NO, **_IMPORTED)),
    ),
    "LearningMap": _all(
        org=_TEXT,
        learns=_YES_OR_NO,
        models=_some(_all(model=_TEXT, **_BELIEVED, cost_usd=_or_null(_REAL))),
        points=_some(_all(x=_REAL, y=_REAL, model=_TEXT, quality=_or_null(_REAL), topic=_WHOLE)),
        topics=_some(
            _all(
                x=_REAL,
                y=_REAL,
                prompts=_WHOLE,
                example=_or_null(_TEXT),
                best=_or_null(_TEXT),
                cheap=_or_null(_TEXT),
                goes={"type": "object", "additionalProperties": _REAL},
                models=_some(_all(model=_TEXT, **_BELIEVED)),
            )
        ),
        curve=_some(_all(cost_usd=_REAL, quality=_REAL, shares={"type": "object", "additionalProperties": _REAL})),
        traffic=_or_null(_all(cost_usd=_REAL, quality=_REAL, prompts=_WHOLE)),
        decisions=_all(
            **dict.fromkeys(("of", "explored"), _WHOLE),
            modes={"type": "object", "additionalProperties": _WHOLE},
            gave_up=_REAL,
        ),
    ),
    "Decision": _all(
        org=_TEXT,
        **dict.fromkeys(("request_id", "mode", "taste", "chosen", "answered", "outcome"), _TEXT),
        propensity=_or_null(_REAL),
        gave_up=_REAL,
        candidates=_some(_all(model=_TEXT, cost_usd=_or_null(_REAL))),
        judged=_some(_all(quality=_REAL, weight=_REAL, key=_TEXT)),
    ),
    "Snapshots": _all(org=_TEXT, snapshots=_some(_all(snapshot=_WHOLE, at=_or_null(_REAL)))),
    "CacheState": _all(
        total={"type": "object", "additionalProperties": _WHOLE},
        processes={"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _WHOLE}},
        shared=_or_null({"type": "object"}),
    ),
    "Forgotten": _all(
        **dict.fromkeys(("forgotten", "processes", "followed"), _WHOLE),
        shared=_or_null({**_WHOLE, "description": "How many the shared tier had; null where there is none."}),
    ),
    "Done": _all(
        org=_TEXT,
        done=_TEXT,
        number=_or_null(
            {**_WHOLE, "description": "The snapshot, or how many events or outcomes were learned or forgotten."}
        ),
    ),
}


def schemas() -> dict[str, Json]:
    """What bodies and answers refer to."""
    bodies: dict[type[BaseModel], None] = dict.fromkeys(way.body for way in WAYS if way.body is not None)
    _, wishes = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    return {**ANSWERS, **wishes["$defs"]}


def path_of(way: Way) -> str:
    return f"{PREFIX}/{'/'.join(way.path)}"


def operation(way: Way) -> Json:
    """One of the document's operations."""
    names = [part.strip("{}") for part in way.path if part.startswith("{")]
    filters = {name: {"description": "Only what has this value.", "schema": _TEXT} for name in way.query}
    said: Json = {
        "summary": way.summary,
        "operationId": f"admin_{way.ask}",
        "tags": ["admin"],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": PATH[name]} for name in names),
            *(
                {"name": name, "in": "query", "required": name in NEEDED, **QUERY.get(name, filters[name])}
                for name in way.query
            ),
        ],
        "responses": {
            "200": {"description": "The answer.", "content": _content(way)},
            "403": _error("The key is not an admin's."),
            "404": _error("There is no such thing."),
            "default": _error("Why there is no answer, and what to do."),
        },
        "security": [{"bearer": []}, {"x-api-key": []}],
    }
    if way.body is not None:
        said["requestBody"] = {"required": True, "content": _json(way.body.__name__)}
    if way.ask == "learning_take_in":
        said["requestBody"] = {"required": True, "content": _ZIP}
    return said


def _content(way: Way) -> Json:
    if way.ask == "learning_share":
        return _ZIP
    if way.ask.startswith(LEARNING) and way.file:
        return {LINES.decode(): {}}
    if way.ask == EVENTS:
        return {"text/event-stream": {"schema": _TEXT}}
    if way.file:
        return {kind.decode().partition(";")[0]: {} for kind in FILES.values()}
    return _json(way.answer)


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _error(description: str) -> Json:
    return {"description": description, "content": _json("OpenAIError")}
