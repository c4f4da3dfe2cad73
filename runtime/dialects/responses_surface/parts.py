"""Content parts of a Responses body, and thoughts that come back sealed."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import orjson

from runtime.dialects.encoding import split_data_url
from runtime.dialects.fields import Wrong, array, obj, opt_text, text
from runtime.dialects.paths import leftovers
from runtime.outcome import FailureKind
from runtime.request import AudioPart, FilePart, ImagePart, Json, Part, ReasoningPart, TextPart

UNSAID = "responses."
"""Begins the path, in a request's `extra`, of what chat completions have no word for: it is named, never sent."""

_SEAL = "raygate."
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "input_text": ("text",),
    # The log probabilities of an earlier answer are nothing that a model reads.
    "output_text": ("text", "annotations", "logprobs", "extra_content"),
    "input_image": ("image_url", "file_id", "detail"),
    "input_file": ("file_data", "file_url", "file_id", "filename"),
    "input_audio": ("input_audio",),
    "refusal": ("refusal",),
}
_ALWAYS = ("type", "prompt_cache_breakpoint")


def part_of(said: Json, param: str, unsaid: dict[str, Json]) -> Part | str:
    """One content part; the text of a refusal comes back bare. Raises `Wrong`."""
    fields = obj(said, param)
    kind = text(fields.get("type"), f"{param}.type")
    if kind not in _KNOWN:
        raise Wrong(f"{param}.type", f'{param}.type must be one of {", ".join(_KNOWN)}, but is "{kind}".')
    leftovers(fields, (*_ALWAYS, *_KNOWN[kind]), f"{UNSAID}{param}", unsaid)
    # Chat completions mark a part in the same word.
    mark = fields.get("prompt_cache_breakpoint")
    extra = {} if mark is None else {"prompt_cache_breakpoint": mark}
    match kind:
        case "refusal":
            return text(fields.get("refusal"), f"{param}.refusal")
        case "input_image":
            return _image(fields, param, extra)
        case "input_file":
            return _file(fields, param, extra)
        case "input_audio":
            audio = obj(fields.get("input_audio"), f"{param}.input_audio")
            leftovers(audio, ("data", "format"), f"{UNSAID}{param}.input_audio", unsaid)
            return AudioPart(
                data=text(audio.get("data"), f"{param}.input_audio.data"),
                format=text(audio.get("format"), f"{param}.input_audio.format"),
                extra=extra,
            )
        case _:
            notes = fields.get("annotations")
            return TextPart(
                text(fields.get("text"), f"{param}.text"),
                citations=() if notes is None else tuple(array(notes, f"{param}.annotations")),
                signature=signature_of(fields),
                extra=extra,
            )


def _image(fields: dict[str, Json], param: str, extra: dict[str, Json]) -> ImagePart:
    url = opt_text(fields, "image_url", f"{param}.image_url")
    file_id = opt_text(fields, "file_id", f"{param}.file_id")
    if (url is None) is (file_id is None):
        raise Wrong(f"{param}.image_url", f"{param} must have either image_url or file_id.")
    detail = opt_text(fields, "detail", f"{param}.detail")
    if url is not None and (inline := split_data_url(url)):
        return ImagePart(data=inline[1], media_type=inline[0], detail=detail, extra=extra)
    return ImagePart(url=url, file_id=file_id, detail=detail, extra=extra)


def _file(fields: dict[str, Json], param: str, extra: dict[str, Json]) -> FilePart:
    data = opt_text(fields, "file_data", f"{param}.file_data")
    url = opt_text(fields, "file_url", f"{param}.file_url")
    file_id = opt_text(fields, "file_id", f"{param}.file_id")
    if sum(one is not None for one in (data, url, file_id)) != 1:
        raise Wrong(param, f"{param} must have one of file_data, file_url and file_id.")
    inline = split_data_url(data) if data is not None else None
    return FilePart(
        url=url,
        data=inline[1] if inline else data,
        media_type=inline[0] if inline else None,
        file_id=file_id,
        name=opt_text(fields, "filename", f"{param}.filename"),
        extra=extra,
    )


def mark_of(signature: str) -> dict[str, Json]:
    """Google's mark on a part or a call, where its own OpenAI endpoint puts it: Gemini wants it back."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def signature_of(fields: Mapping[str, Json]) -> str:
    """The inverse of `mark_of`."""
    match fields.get("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            return signature
        case _:
            return ""


def sealed(thought: ReasoningPart) -> str | None:
    """What of a thought is not its text, as `encrypted_content`: the one field that every client sends back.

    What only its provider can read goes as it is; a signature has our seal around it.
    """
    if not (thought.signature or thought.extra):
        return thought.redacted or None
    inside = {"signature": thought.signature, "redacted": thought.redacted, "extra": dict(thought.extra)}
    packed = orjson.dumps({name: value for name, value in inside.items() if value})
    return _SEAL + base64.urlsafe_b64encode(packed).decode()


def thought_of(fields: Mapping[str, Json], param: str) -> ReasoningPart | None:
    """The thought in a reasoning item; None where it says nothing. Raises `Wrong`."""
    said = _texts(fields, "content", param) or _texts(fields, "summary", param)
    secret = opt_text(fields, "encrypted_content", f"{param}.encrypted_content") or ""
    words = "\n\n".join(said)
    if not secret.startswith(_SEAL):
        return ReasoningPart(text=words, redacted=secret) if words or secret else None
    where = f"{param}.encrypted_content"
    try:
        inside = obj(orjson.loads(base64.urlsafe_b64decode(secret.removeprefix(_SEAL))), where)
        return ReasoningPart(
            text=words,
            signature=text(inside.get("signature", ""), where),
            redacted=text(inside.get("redacted", ""), where),
            extra=obj(inside.get("extra", {}), where),
        )
    except (ValueError, Wrong):
        raise Wrong(where, f"{where} was changed on its way: send it back as it came.") from None


def _texts(fields: Mapping[str, Json], key: str, param: str) -> list[str]:
    where = f"{param}.{key}"
    said = fields.get(key)
    entries = [] if said is None else array(said, where)
    return [text(obj(one, f"{where}[{at}]").get("text"), f"{where}[{at}].text") for at, one in enumerate(entries)]


def cannot(param: str, detail: str) -> Wrong:
    """Something that the API has and Raygate cannot carry."""
    return Wrong(param, detail, FailureKind.UNSUPPORTED)
