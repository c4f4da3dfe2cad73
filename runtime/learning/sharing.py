"""What was learned as one file, for other Raygates and from them: a zip of the two files of `runtime.sona.federate`.

    share     the judged prompts of an organisation as patterns: centres, counts and qualities; and its adapters, where
              it has some. No prompt, no key, no pattern of fewer than `LEAST_PROMPTS` prompts, and nothing that was
              imported: what comes back to where it was learned would count twice
    take in   a pattern's outcomes are learned by the head at its centre, those of all patterns together worth no more
              than what was heard here (`federate.share`); adapters are merged into those of the same name

An import is one event (`Imported`), so restarts, pauses, going back, forgetting and new maps know nothing new. It is
no evidence: nobody is chosen by it before answers were judged here.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from runtime.learning.events import Event, Imported, Judged
from runtime.memory.embed import Embedder
from runtime.memory.store import OtherEmbedder
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from runtime.sona.bank import Pattern, kmeans
from runtime.sona.federate import (
    ADAPTERS,
    LEAST_SEEN,
    PATTERNS,
    BadBundle,
    Bundle,
    Provenance,
    Weights,
    merge_weights,
    packed,
    parsed,
    put_weights,
    share,
    weights_of,
)
from runtime.sona.learner import Learner

MOST_BYTES = 8 * 1024 * 1024
"""Of a file that is imported, and of what it holds once it is unpacked."""
MOST_PATTERNS = 64
MOST_IMPORTED = 512
PROMPTS_EACH = 10
"""Distinct prompts to a pattern of an export, on average."""
LEAST_PROMPTS = 5
"""A pattern of one prompt would be that prompt's vector."""
MOST_PROMPTS = 8_192
"""The last that an export looks at."""
LEAST_WEIGHT = 1e-3

OTHER_EMBEDDER, BAD_EXPORT, KNOWN = "other_embedder", "bad_export", "already_imported"

_WHO = re.compile(r"[\w.@:+-][\w.@:+/-]{0,99}", re.ASCII)


def named(who: str) -> bool:
    """Whether this can be the name of who learned something: up to 100 letters, digits and signs.

    >>> named("berlin@edge-7"), named(""), named("[red]")
    (True, False, False)
    """
    return _WHO.fullmatch(who) is not None


def shared(events: Iterable[Event], learner: Learner | None, embedder: Embedder, *, who: str, at_s: float) -> bytes:
    """The file. `events` are those that teach something, oldest first."""
    last = {(one.request, one.key, one.model): one for one in events if isinstance(one, Judged)}
    adapters: dict[str, Weights] = {}
    if learner is not None and (refined := learner.refined) is not None:
        parts = refined.parts
        ours = (("micro", parts.micro, refined.micro), ("base", parts.base, refined.base))
        adapters = {
            name: weights_of(one, refined.models, seen=learner.heard) for name, takes_part, one in ours if takes_part
        }
    origin = Provenance(who=who, at=at_s, embedder=embedder.name, dim=embedder.dim)
    return zipped(Bundle(provenance=origin, patterns=patterns_of(list(last.values())), adapters=adapters))


def patterns_of(judged: Sequence[Judged]) -> tuple[Pattern, ...]:
    """Kinds of prompts, by the prompts that somebody judged an answer to; the same judgements, the same patterns."""
    by_prompt: dict[bytes, list[Judged]] = {}
    for one in judged:
        by_prompt.setdefault(one.vector, []).append(one)
    prompts = list(by_prompt.items())[-MOST_PROMPTS:]
    vectors = np.array([np.frombuffer(vector, dtype="<f4") for vector, _ in prompts], dtype=np.float64)
    prompts = [one for one, vector in zip(prompts, vectors, strict=True) if np.any(vector)]
    if not prompts:
        return ()
    vectors = vectors[np.any(vectors, axis=1)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    count = min(MOST_PATTERNS, max(1, len(prompts) // PROMPTS_EACH))
    centres, nearest = kmeans(vectors, count, np.random.default_rng(0))
    found = []
    for at, centre in enumerate(centres):
        members = [prompts[int(row)][1] for row in np.flatnonzero(nearest == at)]
        if len(members) < LEAST_PROMPTS:
            continue
        seen: dict[str, float] = {}
        won: dict[str, float] = {}
        for one in (each for member in members for each in member):
            seen[one.model] = seen.get(one.model, 0.0) + one.weight
            won[one.model] = won.get(one.model, 0.0) + one.weight * one.quality
        used = max(each.at_s for member in members for each in member)
        found.append(
            Pattern(centre=tuple(map(float, centre)), size=float(len(members)), seen=seen, won=won, used_at=used)
        )
    return tuple(found)


def zipped(bundle: Bundle) -> bytes:
    """The same bundle is the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, payload in zip((PATTERNS, ADAPTERS), packed(bundle), strict=True):
            file.writestr(zipfile.ZipInfo(name), payload, compress_type=zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unzipped(payload: bytes, embedder: Embedder | None) -> Bundle:
    """Raises `BadBundle`; `OtherEmbedder` where its vectors mean nothing here, unless nobody asks."""
    if len(payload) > MOST_BYTES:
        raise BadBundle(f"an export has at most {MOST_BYTES:,} bytes, this has {len(payload):,}")
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as file:
            patterns, adapters = (_member(file, name) for name in (PATTERNS, ADAPTERS))
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, BadBundle):
            raise
        raise BadBundle(f"this is no export of patterns: it should be a zip with {PATTERNS} and {ADAPTERS}") from None
    bundle = parsed(patterns, adapters, embedder)
    if len(bundle.patterns) > MOST_IMPORTED:
        raise BadBundle(f"an export has at most {MOST_IMPORTED} patterns, this has {len(bundle.patterns)}")
    if not named(bundle.provenance.who):
        raise BadBundle("whoever exported it has no name, or one that is too long or holds control characters")
    return bundle


def _member(file: zipfile.ZipFile, name: str) -> bytes:
    if file.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadBundle(f"{name} is packed in a way that no export has")
    with file.open(name) as part:
        found = part.read(MOST_BYTES + 1)  # whatever its header says of its size
    if len(found) > MOST_BYTES:
        raise BadBundle(f"{name} has more than {MOST_BYTES:,} bytes")
    return found


def imported(payload: bytes, embedder: Embedder, *, at_s: float, own: str, there: Sequence[str]) -> Imported | Failure:
    """The event, if this may be taken in. `there` are those whose learning was taken in before."""
    try:
        bundle = unzipped(payload, embedder)
    except OtherEmbedder as error:
        return _refused(OTHER_EMBEDDER, str(error))
    except BadBundle as error:
        return _refused(BAD_EXPORT, str(error))
    origin = bundle.provenance
    if origin.who == own:
        return _refused(KNOWN, f"{origin.who} is this organisation here: what it learned counts already")
    if origin.who in there:
        detail = f"what {origin.who} learned was imported already, and would count twice; forget request"
        return _refused(KNOWN, f"{detail} {_request(origin.who)} first")
    models = {model for one in bundle.patterns for model in one.seen}
    models |= {model for one in bundle.adapters.values() for model in one.models}
    return Imported(
        request=_request(origin.who),
        who=origin.who,
        learned_at=origin.at,
        embedder=origin.embedder,
        patterns=len(bundle.patterns),
        outcomes=round(sum(sum(one.seen.values()) for one in bundle.patterns), 3),
        models=tuple(sorted(models)),
        adapters=tuple(sorted(bundle.adapters)),
        at_s=at_s,
        vector=payload,
    )


def _request(who: str) -> str:
    return f"import:{who}"


def _refused(code: str, detail: str) -> Failure:
    return Failure(kind=FailureKind.BAD_REQUEST, detail=detail, code=code, scope="request")


def told(event: Imported) -> dict[str, Json]:
    """Its provenance, for whoever asks how learning stands."""
    return {
        "request_id": event.request,
        "who": event.who,
        "learned_at": event.learned_at,
        "imported_at": event.at_s,
        "embedder": event.embedder,
        "patterns": event.patterns,
        "outcomes": event.outcomes,
        "models": list(event.models),
        "adapters": list(event.adapters),
    }


def taken(event: Imported, learner: Learner | None, *, paused: bool) -> dict[str, Json]:
    """What is answered to who imports it; `known` are those of its models that are known here."""
    here = learner.models if learner is not None else ()
    return told(event) | {"known": sorted(set(here) & set(event.models)), "paused": paused}


def take_in(learner: Learner, payload: bytes) -> None:
    """Learn it, as far as it is of models that are known here. What a later version cannot read teaches nothing."""
    try:
        bundle = unzipped(payload, None)
    except BadBundle:
        return
    place = {model: at for at, model in enumerate(learner.models)}
    outcomes = [
        (np.array(one.centre), place[model], one.won.get(model, 0.0) / seen, seen)
        for one in bundle.patterns
        for model, seen in one.seen.items()
        if model in place and seen > 0.0
    ]
    counts = share(sum(seen for *_, seen in outcomes), max(learner.heard, LEAST_SEEN))
    for centre, model, quality, seen in outcomes:
        if counts * seen >= LEAST_WEIGHT:
            # By the head alone: that others were surprised is no alarm here.
            features = learner.topics.features(centre[None, :])[0]
            learner.head.learn(model, features, quality, weight=counts * seen)
    refined = learner.refined
    if refined is None:
        return
    for name, takes_part, ours in (
        ("micro", refined.parts.micro, refined.micro),
        ("base", refined.parts.base, refined.base),
    ):
        if takes_part and name in bundle.adapters:
            own = weights_of(ours, refined.models, seen=learner.heard)
            merged = merge_weights(own, [bundle.adapters[name]], rank=ours.how.rank)
            put_weights(ours, refined.models, merged)
            if name == "base" and refined.parts.ewc:
                # Else the next replay would pull it back to what was here before.
                refined.keeper.boundary(ours.parameters)
