"""Reads settings: a YAML file, and over it the environment (`RAYGATE_RETRY__MAX_ATTEMPTS=2`).

`price_file` names a second file, with a list of prices, which becomes part of the settings (`prices`).
Variable names are case-insensitive, so keys that come from them are in lower case. A value that is a list or a
mapping is JSON. An empty variable counts as unset. A file may say `os.environ/NAME` wherever text may stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from runtime.settings.model import Settings
from runtime.settings.problems import BadSettings, Problem, nearest, unknown_key
from runtime.settings.report import Path, dotted, problems_of
from runtime.settings.secrets import REFERENCE

PREFIX = "RAYGATE_"

ALSO_READ = (
    "RAYGATE_API_KEY",
    "RAYGATE_CHAOS",
    "RAYGATE_CONFIG",
    "RAYGATE_FIRST_KEY",
    "RAYGATE_HAPROXY_LOG",
    "RAYGATE_HAPROXY_MAX_BODY",
    "RAYGATE_HAPROXY_PREFER_LOCAL",
    "RAYGATE_HAPROXY_REAL",
    "RAYGATE_HAPROXY_STATS",
    "RAYGATE_MODEL_KEY",
    "RAYGATE_RUN_ID",
    "RAYGATE_SHARED",
    "RAYGATE_STATE_DIR",
    "RAYGATE_URL",
)
"""Variables with our prefix that are no settings: where the state and the configuration lie, what a client of
Raygate needs, the first key, how HAProxy is started, what a test run is called. Add here what another part reads by
itself."""


def load(path: FilePath | None, env: Mapping[str, str]) -> Settings:
    """The settings of a file (none is fine) and the environment. Raises `BadSettings` with all problems at once."""
    document = _Document.read(path)
    from_env, variables, problems = _read_environment(env)
    data = _merged(document.data, from_env)
    prices = _price_list(data, path)
    problems = [*document.problems, *problems, *prices.problems]
    if prices.data:
        ours = data.get("prices")
        data = {**data, "prices": _merged(prices.data, ours) if isinstance(ours, Mapping) else prices.data}

    unset = _unset_references(data, env)
    problems += [
        Problem(_where(at, document, variables), dotted(at), f"environment variable {name} is not set")
        for at, name in unset.items()
    ]
    try:
        settings = Settings.model_validate(_resolved(data, env))
    except ValidationError as error:
        found = problems_of(error, Settings, lambda at: prices.listed(at) or _where(at, document, variables))
        explained = {dotted(at[:length]) for at in unset for length in range(1, len(at) + 1)}
        problems += [problem for problem in found if problem.path not in explained]
        # Raised below, outside this block: pydantic's error holds the values and must not be its context.
        settings = None
    if problems or settings is None:
        raise BadSettings(problems)
    return settings


def _price_list(data: Mapping[str, Any], settings: FilePath | None) -> _Document:
    """What `price_file` names, beside the settings file if that names it."""
    named = data.get("price_file")
    if not isinstance(named, str) or not named:
        return _Document.read(None)
    return _Document.read((settings.parent if settings else FilePath()) / named)


class _Document:
    """A YAML file, and on which line each of its keys stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: dict[str, Any] = {}
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []

    @classmethod
    def read(cls, path: FilePath | None) -> _Document:
        document = cls(str(path or ""))
        if path is None:
            return document
        try:
            loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            document._note(node, ())
            data = loader.construct_document(node) if node is not None else None
        except OSError as error:
            document._wrong(None, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            document._wrong(None, "is not UTF-8 text")
        except yaml.MarkedYAMLError as error:
            # The error's own text quotes the line, and the line may hold a key.
            mark = error.problem_mark or error.context_mark
            what = re.sub(r"'[^'<>\s]{2,}'", "'…'", error.problem or "is not YAML")
            document._wrong(mark.line + 1 if mark else None, what)
        except yaml.YAMLError:
            document._wrong(None, "holds characters that YAML does not allow")
        else:
            if isinstance(data, dict):
                document.data = data
            elif data is not None:
                document._wrong(1, "should be a mapping of keys to values")
        return document

    def _wrong(self, line: int | None, what: str, at: Path = ()) -> None:
        self.problems.append(Problem(f"{self.name}:{line}" if line else self.name, dotted(at), what))

    def _note(self, node: yaml.Node | None, at: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value)
                here = (*at, name)
                # YAML parsers keep the last of two equal keys and say nothing: a provider would vanish.
                if here in self.lines and name != "<<":
                    self._wrong(key.start_mark.line + 1, f"is there twice, first on line {self.lines[here]}", here)
                    continue
                self.lines[here] = key.start_mark.line + 1
                self._note(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[*at, index] = item.start_mark.line + 1
                self._note(item, (*at, index))

    def line_of(self, at: Path) -> tuple[int, int]:
        """The line of the deepest part of a path that is in the file, and how deep that is."""
        for depth in range(len(at), 0, -1):
            if line := self.lines.get(at[:depth]):
                return line, depth
        return 0, 0

    def listed(self, at: Path) -> str:
        """Where a path of the settings stands in this list of prices; empty if it does not."""
        line, depth = self.line_of(at[1:]) if at[:1] == ("prices",) else (0, 0)
        # A price's own name is the least that tells one list from the other.
        return f"{self.name}:{line}" if depth >= min(2, len(at) - 1) and line else ""


class _GivenEnvironment(EnvSettingsSource):
    """pydantic-settings' reading of the environment, but of the one that it is given."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        super().__init__(
            # It needs a model's fields and nothing else of BaseSettings, which would read os.environ by itself.
            cast("type[BaseSettings]", Settings),
            case_sensitive=False,
            env_prefix=PREFIX,
            env_nested_delimiter="__",
        )

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._env.items()}


def _read_environment(env: Mapping[str, str]) -> tuple[dict[str, Any], dict[Path, str], list[Problem]]:
    """The settings in the environment, which variable said which, and what is wrong with them.

    Each variable is read alone, so that one mistake hides no other and each can be named.
    """
    data: dict[str, Any] = {}
    variables: dict[Path, str] = {}
    problems: list[Problem] = []
    for name in sorted(env):
        if not name.upper().startswith(PREFIX) or name.upper() in ALSO_READ or not env[name]:
            continue
        try:
            said = _GivenEnvironment({name: env[name]})()
        except SettingsError:
            problems.append(Problem(f"environment variable {name}", "", "should be JSON: a list or a mapping"))
            continue
        if not said:
            problems.append(Problem(f"environment variable {name}", "", _unknown_variable(name)))
            continue
        data = _merged(data, said)
        variables[tuple(name.lower().removeprefix(PREFIX.lower()).split("__"))] = name
    return data, variables, problems


def _unknown_variable(name: str) -> str:
    known = [*ALSO_READ, *(PREFIX + field.upper() for field in Settings.model_fields)]
    first = name.upper().split("__")[0]
    if first in known:
        return f"`{first}` has nothing below it"
    close = nearest(first, known)
    return f"is no setting; did you mean `{close[0]}`?" if close else unknown_key(name, known)


def _where(at: Path, document: _Document, variables: Mapping[Path, str]) -> str:
    """The variable or the line that most likely brought this path."""
    line, depth = document.line_of(at)
    shared = {said: _shared(said, at) for said in variables}
    best = max(shared, key=lambda said: shared[said], default=())
    if best and (shared[best] > depth or shared[best] == len(best)):
        return f"environment variable {variables[best]}"
    return f"{document.name}:{line}" if line else document.name


def _shared(a: Path, b: Path) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _is_secret(at: Path) -> bool:
    """Secrets keep their reference: each process looks it up when it builds the provider, the hook, or the webhook."""
    if at[:1] == ("hooks",):
        return len(at) > 3 and at[2] == "with"
    if at[:2] == ("alerts", "webhooks"):
        return at[3:] in (("url",), ("secret",))
    return at[:1] == ("providers",) and (at[2:] == ("api_key",) or (len(at) == 4 and at[2] in ("headers", "api_keys")))


def _unset_references(value: Any, env: Mapping[str, str], at: Path = ()) -> dict[Path, str]:
    match value:
        case str() if value.startswith(REFERENCE) and not env.get(name := value.removeprefix(REFERENCE)) and name:
            return {at: name}
        case {"enabled": False} if at[:1] == ("providers",):
            # What is switched off needs no key.
            return {}
        case dict():
            return {k: v for key, item in value.items() for k, v in _unset_references(item, env, (*at, key)).items()}
        case list():
            return {k: v for i, item in enumerate(value) for k, v in _unset_references(item, env, (*at, i)).items()}
        case _:
            return {}


def _resolved(value: Any, env: Mapping[str, str], at: Path = ()) -> Any:
    match value:
        case str() if value.startswith(REFERENCE) and not _is_secret(at):
            return env.get(value.removeprefix(REFERENCE), value)
        case dict():
            return {key: _resolved(item, env, (*at, key)) for key, item in value.items()}
        case list():
            return [_resolved(item, env, (*at, index)) for index, item in enumerate(value)]
        case _:
            return value
