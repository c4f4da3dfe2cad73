"""What differs between two settings, in words that may be shown: nothing in them is secret.

    before   after
    –        value    `+`  a provider, route, … that is new, or a value that had no default
    value    –        `-`  one that is gone
    value    value    `~`

Of what is new or gone only that is named which was said; elsewhere a default counts as a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.settings.model import Settings
from runtime.settings.secrets import REFERENCE, REVEAL

HIDDEN = "**********"
ANOTHER = " (another)"

FIXED = frozenset(("host", "port", "replicas", "autoscale", "proxy", "ray", "max_body_bytes"))
"""What is read when Raygate starts, and counts (of `max_body_bytes`: in front of the replicas) from then on."""

_NAMED = ("providers", "routes", "models")
_WHOLE = frozenset(("script",))

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One key, dotted; None where there is none. Secrets are masked."""

    path: str
    before: str | None
    after: str | None

    @property
    def sign(self) -> str:
        return "+" if self.before is None else "-" if self.after is None else "~"

    @property
    def needs_restart(self) -> bool:
        return self.path.split(".")[0] in FIXED


def difference(before: Settings, after: Settings) -> tuple[Change, ...]:
    """All changes, in the order of the newer settings, what is gone at the end."""
    old, new = _said(before, beside=after), _said(after, beside=before)
    changes = [
        _change(path, old.get(path), new.get(path))
        for path in [*new, *(path for path in old if path not in new)]
        if old.get(path) != new.get(path)
    ]
    return (*changes, *_orders(before, after))


def masked(settings: Settings, *, short: bool = False) -> dict[str, Any]:
    """Plain data in which nothing is secret: also not in options and addresses, where people put tokens, too."""
    document: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=short)
    for one in document.get("providers", {}).values():
        if "options" in one:
            one["options"] = dict.fromkeys(one["options"], HIDDEN)
        if "base_url" in one:
            one["base_url"] = without_login(one["base_url"])
    if "hooks" in document:
        document["hooks"] = [_masked_hook(one) for one in document["hooks"]]
    return document


def _masked_hook(one: Any) -> Any:
    """A hook without what it is made with: a token may be among it."""
    return {**one, "with": dict.fromkeys(one["with"], HIDDEN)} if isinstance(one, dict) and "with" in one else one


def _masked_webhook(one: Any) -> Any:
    """Whoever knows the address of a webhook can write there."""
    return {
        name: HIDDEN if name in ("url", "secret") and said and not str(said).startswith(REFERENCE) else said
        for name, said in one.items()
    }


def without_login(url: str) -> str:
    """The address, less a user and a password in it.

    >>> without_login("https://me:secret@host/v1")
    'https://…@host/v1'
    """
    return re.sub(r"//[^/@]*@", "//…@", url)


def references(settings: Settings) -> tuple[str, ...]:
    """The environment variables that hold the secrets of providers that are switched on."""
    document = settings.to_document()
    on = [document["providers"][name] for name, one in settings.providers.items() if one.enabled]
    on += [document.get("hooks"), document.get("alerts")]
    return tuple(dict.fromkeys(name for one in on for name in _references(one)))


def _references(value: object) -> Iterable[str]:
    if isinstance(value, str) and value.startswith(REFERENCE):
        yield value.removeprefix(REFERENCE)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _said(settings: Settings, *, beside: Settings) -> dict[Path, object]:
    document = settings.model_dump(mode="json", context=REVEAL)
    short = settings.to_document()
    for section in _NAMED:
        others = getattr(beside, section)
        for name in document[section]:
            if name not in others:
                document[section][name] = short[section][name]
    return dict(_flat(document, ()))


def _flat(value: object, at: Path) -> Iterable[tuple[Path, object]]:
    named = len(at) == 2 and at[0] in _NAMED
    if isinstance(value, Mapping) and (value or not named) and not (at and at[-1] in _WHOLE):
        for key, one in value.items():
            yield from _flat(one, (*at, str(key)))
    elif value is not None:
        yield at, value


def _orders(before: Settings, after: Settings) -> Iterable[Change]:
    """Providers are asked in the order in which they stand, where nothing else decides."""
    old = [name for name in before.providers if name in after.providers]
    new = [name for name in after.providers if name in before.providers]
    if old != new:
        yield Change("providers (their order)", ", ".join(old), ", ".join(new))


def _change(path: Path, before: object, after: object) -> Change:
    old, new = _shown(path, before), _shown(path, after)
    return Change(".".join(path), old, f"{new}{ANOTHER}" if old == new else new)


def _shown(path: Path, value: object) -> str | None:
    if value is None:
        return None
    if path[0] == "hooks" and isinstance(value, list):
        value = [_masked_hook(one) for one in value]
    if path[0] == "alerts" and isinstance(value, list):
        value = [_masked_webhook(one) for one in value]
    if path[0] == "providers" and len(path) > 2:
        if path[2] == "options":
            return HIDDEN
        if (path[2].startswith("api_key") or path[2] == "headers") and not str(value).startswith(REFERENCE):
            return HIDDEN
        if path[2] == "base_url":
            return without_login(str(value))
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
