"""How Google's JSON spells things: either case of field names, one or many, kinds of media.

Google's parser takes `generationConfig` and `generation_config` alike, one object where a list is meant, and null
for absent. We read all of that and write camel case. What holds a caller's own names (schemas, arguments, results,
labels) is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from runtime.dialects.fields import Wrong, obj
from runtime.request import Json

OPAQUE = frozenset(
    (
        *("args", "response", "partMetadata", "labels", "headers", "metadata", "customMetadata", "default", "example"),
        *("parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "_responseJsonSchema"),
    )
)
"""Fields whose value is the caller's own JSON."""

MOST_DEEP = 200
"""Levels of nesting that are read; orjson reads 1,024, but writes 254."""

FORMATS: Mapping[str, str] = {
    "mpeg": "mp3",
    "x-mpeg": "mp3",
    "x-wav": "wav",
    "wave": "wav",
    "vnd.wave": "wav",
    "x-aiff": "aiff",
    "x-flac": "flac",
    "x-m4a": "m4a",
    "l16": "pcm",
}
"""Subtypes of audio/… whose short name is another."""

BY_EXTENSION: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/m4a",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mov": "video/quicktime",
    "avi": "video/avi",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "xml": "text/xml",
    "json": "application/json",
}

_VIDEO_HOSTS = ("youtube.com", "youtu.be")


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """The JSON name of a field.

    >>> camel("max_output_tokens"), camel("topK"), camel("_responseJsonSchema")
    ('maxOutputTokens', 'topK', '_responseJsonSchema')
    """
    if "_" not in name or name.startswith("_"):
        return name
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def fields_of(value: Json, param: str) -> dict[str, Json]:
    """The fields of an object under their JSON names, without those that are null."""
    said = obj(value, param)
    found: dict[str, Json] = {}
    for key, one in said.items():
        if one is None:
            continue
        name = camel(key)
        if name in found:
            raise Wrong(f"{param}.{name}", f"{param}.{name} is given twice, in two spellings: send one.")
        found[name] = one
    return found


def opt_fields(fields: Mapping[str, Json], key: str, param: str) -> dict[str, Json]:
    """The fields of an inner object; empty where there is none."""
    value = fields.get(key)
    return {} if value is None else fields_of(value, param)


def many(value: Json) -> list[Json]:
    """A list, where one object or word may stand for a list of one, and nothing for an empty one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def camel_deep(value: Json, depth: int = 0) -> Json:
    """The same value with all field names in camel case, but for what is the caller's own."""
    if depth > MOST_DEEP:
        raise Wrong("", f"The body is nested deeper than {MOST_DEEP} levels: send a flatter one.")
    if isinstance(value, dict):
        return {
            (name := camel(key)): one if name in OPAQUE else camel_deep(one, depth + 1) for key, one in value.items()
        }
    if isinstance(value, list):
        return [camel_deep(one, depth + 1) for one in value]
    return value


def is_shallow(value: Json, levels: int = MOST_DEEP) -> bool:
    """True where a value is nested no deeper than this."""
    if isinstance(value, dict):
        return levels > 0 and all(is_shallow(one, levels - 1) for one in value.values())
    if isinstance(value, list):
        return levels > 0 and all(is_shallow(one, levels - 1) for one in value)
    return True


def leftover_fields(fields: Mapping[str, Json], known: frozenset[str], prefix: str, into: dict[str, Json]) -> None:
    """Collect the fields that no type holds, by path, their names in camel case."""
    for key in fields.keys() - known:
        into[f"{prefix}{key}"] = fields[key] if key in OPAQUE else camel_deep(fields[key])


def audio_format(mime: str) -> str:
    """The short name of an audio type.

    >>> audio_format("audio/mpeg"), audio_format("audio/L16;rate=24000")
    ('mp3', 'pcm')
    """
    subtype = mime.partition("/")[2].partition(";")[0].strip().lower()
    return FORMATS.get(subtype, subtype)


def is_video_page(url: str) -> bool:
    """True for a YouTube address: Google plays it, and needs no type for it."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return any(host == one or host.endswith(f".{one}") for one in _VIDEO_HOSTS)


def mime_of_name(name: str) -> str | None:
    """The type that the extension of a file name or address shows.

    >>> mime_of_name("https://host/a.PNG?size=1")
    'image/png'
    """
    try:
        path = urlsplit(name).path
    except ValueError:
        return None
    return BY_EXTENSION.get(path.rpartition(".")[2].lower())
