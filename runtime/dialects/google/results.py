"""What a function answered: text with us, a JSON object with Google.

{"a": 1}            ◄─► text '{"a":1}'
{"result": "sunny"} ◄─► text 'sunny'                      plain text needs a name, and this is the usual one
{"error": "no"}     ◄─► text 'no', is_error               as Google documents it
"""

from __future__ import annotations

import orjson

from runtime.dialects.encoding import text_of_object
from runtime.request import Json


def text_of_response(response: dict[str, Json], param: str) -> tuple[str, bool | None]:
    """The text of a function's answer, and whether it is an error. Raises `Wrong` where JSON text cannot carry it.

    >>> text_of_response({"result": "sunny"}, "response"), text_of_response({"error": "no"}, "response")
    (('sunny', None), ('no', True))
    """
    failed = _says_error(response)
    if len(response) == 1:
        only = response["error"] if failed else response.get("result")
        if isinstance(only, str) and _object(only) is None:
            return only, failed or None
        if failed and isinstance(only, dict) and not _says_error(only):
            return text_of_object(only, param), True
    return text_of_object(response, param), failed or None


def response_of_text(said: str, *, failed: bool) -> dict[str, Json]:
    """The object that says this text to Google.

    >>> response_of_text('{"a": 1}', failed=False), response_of_text("no", failed=True)
    ({'a': 1}, {'error': 'no'})
    """
    whole = _object(said)
    if not failed:
        return {"result": said} if whole is None else whole
    if whole is not None and _says_error(whole):
        return whole
    return {"error": said if whole is None else whole}


def _says_error(response: dict[str, Json]) -> bool:
    """True where an error is said. Beside other fields an empty one says that there was none."""
    error = response.get("error")
    return bool(error) if len(response) > 1 else error is not None and error is not False


def _object(said: str) -> dict[str, Json] | None:
    if not said.lstrip().startswith("{"):
        return None
    try:
        value = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
