"""The sources that an answer names, as annotations of its text.

    OpenAI, OpenRouter    url_citation, …                     as it is (chat completions wrap it once more)
    Anthropic             web_search_result_location, …       the text part is what is cited for
    Cohere                start, end, sources[].document      one annotation for each source

A source without an address and without a name cannot be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.dialects.reading import obj, objects, text
from runtime.request import Json

_OWN = ("url_citation", "file_citation", "container_file_citation", "file_path")


def annotations_of(citations: Iterable[Json], length: int) -> list[Json]:
    """The annotations of one text part of this many characters."""
    found: list[Json] = []
    for citation in citations:
        said = obj(citation)
        kind = text(said.get("type"))
        if kind in _OWN:
            # Chat completions put what is cited under the name of its type.
            inner = obj(said.get(kind, {name: said[name] for name in said.keys() - {"type"}}))
            # Strict clients want every field of an address.
            whole = {"url": "", "title": "", "start_index": 0, "end_index": length} if kind == "url_citation" else {}
            found.append({"type": kind, **whole, **inner})
        elif "sources" in said:
            start, end = said.get("start"), said.get("end")
            span = (start, end) if isinstance(start, int) and isinstance(end, int) else (0, length)
            found += [one for source in objects(said["sources"]) if (one := _source(source, span))]
        elif one := _note(text(said.get("url")), _title(said), text(said.get("file_id")), (0, length)):
            found.append(one)
    return found


def _source(source: Mapping[str, Json], span: tuple[int, int]) -> Json:
    document = obj(source.get("document"))
    title = text(document.get("title")) or text(document.get("name")) or text(source.get("id"))
    return _note(text(document.get("url")), title, text(source.get("id")), span)


def _title(said: Mapping[str, Json]) -> str:
    return text(said.get("title")) or text(said.get("document_title")) or text(said.get("source"))


def _note(url: str, title: str, file_id: str, span: tuple[int, int]) -> Json:
    if url:
        return {"type": "url_citation", "url": url, "title": title, "start_index": span[0], "end_index": span[1]}
    if title or file_id:
        return {"type": "file_citation", "file_id": file_id, "filename": title, "index": span[1]}
    return None
