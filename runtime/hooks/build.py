"""From settings to hooks: finds the code that they name, and says what is wrong with them before anything changes.

    use: redact             a built-in (`BUILT_IN`)
    use: acme_guard         an entry point of the group `raygate.hooks`, of an installed package
    use: my_hooks:Shout     a class, or a function that makes a hook, in a module on Python's path

Settings cross between processes, code does not: each process imports it by itself.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from runtime.dialects.own import BadDialect
from runtime.dialects.own import find as find_dialect
from runtime.hooks.chain import Chain
from runtime.hooks.mounted import Mounted
from runtime.settings import BadSettings, HookSettings, Problem, Settings, nearest
from runtime.settings.problems import unknown_key
from runtime.settings.secrets import REFERENCE

log = logging.getLogger("raygate.hooks")

GROUP = "raygate.hooks"

BUILT_IN: Mapping[str, str] = {
    "cost": "runtime.hooks.cost:CostLimit",
    "optimise": "runtime.hooks.optimise:Optimise",
    "metrics": "runtime.hooks.metrics:Metrics",
    "redact": "runtime.hooks.redact:Redact",
    "guardrail": "runtime.hooks.guardrail:Guardrail",
    "log": "runtime.hooks.record:Record",
}

MOMENTS = ("pre", "pre_embed", "attempt", "post", "error", "stream_event", "for_request")


class BadHook(ValueError):
    """What is wrong with one hook; `option` names which of its options."""

    def __init__(self, what: str, option: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.option = option


class Broken:
    """In the place of a hook that cannot be made in this process, although it could where the settings were taken."""

    def __init__(self, why: str) -> None:
        self._why = why

    def for_request(self) -> object:
        raise BadHook(self._why)


def problems_of(settings: Settings, env: Mapping[str, str]) -> list[Problem]:
    """All that is wrong with the code that the settings name, dialects and hooks, each with the key of it. Each is made
    once, to see that it can be."""
    found: list[Problem] = []
    for name, one in settings.providers.items():
        try:
            find_dialect(one.dialect or "openai")
        except BadDialect as bad:
            found.append(Problem("", f"providers.{name}.dialect", str(bad)))
    for at, ours in enumerate(settings.hooks):
        try:
            _discard(make(ours, env))
        except BadHook as bad:
            found.append(Problem("", f"hooks[{at}]{bad.option and f'.with.{bad.option}'}", bad.what))
    return found


def check(settings: Settings, env: Mapping[str, str]) -> None:
    """Raises `BadSettings` where `problems_of` finds any."""
    if found := problems_of(settings, env):
        raise BadSettings(found)


def make(ours: HookSettings, env: Mapping[str, str]) -> Any:
    """The hook. Raises `BadHook`."""
    maker = _found(ours.use)
    options = _resolved(ours.options, env)
    _fit(maker, options, ours.use)
    try:
        hook = maker(**options)
    except BadHook:
        raise
    except Exception as error:
        # The message of a constructor's own ValueError is meant for people; of all else nobody knows what it holds.
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise BadHook(f"`{ours.use}` cannot be made: {why}") from error
    if not any(callable(getattr(hook, moment, None)) for moment in MOMENTS):
        raise BadHook(f"`{ours.use}` has none of a hook's methods: {', '.join(MOMENTS)}")
    return hook


class Rack:
    """The hooks of one process, over the versions of its settings: what stays the same is kept as it is.

    Belongs to one event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mounted: dict[tuple[str, int], Mounted] = {}
        self._left: list[Mounted] = []

    def chain(self, settings: Settings, env: Mapping[str, str]) -> Chain | None:
        """The chain of these settings; None where they name no hooks. What they no longer name waits for `leaving`."""
        mounted: dict[tuple[str, int], Mounted] = {}
        for ours in settings.hooks:
            said = ours.model_dump_json()
            # The same hook may stand there twice.
            key = said, sum(other == said for other, _ in mounted)
            mounted[key] = self._mounted.get(key) or self._mount(ours, env)
        self._left += [one for key, one in self._mounted.items() if key not in mounted]
        self._mounted = mounted
        if not mounted:
            return None
        kinds = {name: one.kind.value for name, one in settings.providers.items()}
        return Chain(tuple(mounted.values()), kinds=kinds, default=settings.default_model)

    def leaving(self) -> Sequence[Mounted]:
        """Hooks that are in no chain any more, each told once: close them when what began with them is over."""
        left, self._left = self._left, []
        return left

    def all(self) -> Sequence[Mounted]:
        return tuple(self._mounted.values())

    def _mount(self, ours: HookSettings, env: Mapping[str, str]) -> Mounted:
        try:
            hook = make(ours, env)
        except BadHook as bad:
            log.error("hook.unusable", extra={"hook": ours.use, "why": bad.what})  # noqa: TRY400
            hook = Broken(bad.what)
        guard = bool(getattr(hook, "guard", False)) if ours.on_failure is None else ours.on_failure == "refuse"
        return Mounted(
            name=ours.use,
            hook=hook,
            guard=guard,
            timeout_s=ours.timeout_s,
            routes=ours.routes,
            clock=self._clock,
        )


async def close(mounted: Mounted) -> None:
    """Let the hook end what it has begun."""
    ending = getattr(mounted.hook, "close", None)
    if not callable(ending):
        return
    try:
        got = ending()
        if hasattr(got, "__await__"):
            await got
    except Exception as error:
        log.warning("hook.not_closed", exc_info=error, extra={"hook": mounted.name})


def settings_of(hooks: Iterable[object]) -> list[dict[str, Any]]:
    """Hooks given in Python, as settings: names, mappings as in a file, or classes that other processes can import.

    Raises `BadSettings` for what they cannot.
    """
    found: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for at, hook in enumerate(hooks):
        if isinstance(hook, str):
            found.append({"use": hook})
        elif isinstance(hook, Mapping):
            found.append(dict(hook))
        elif isinstance(hook, HookSettings):
            written: Any = hook.model_dump(mode="json")
            found.append({"use": written} if isinstance(written, str) else written)
        elif (path := _path_of(hook)) is not None:
            found.append({"use": path})
        else:
            problems.append(Problem("", f"hooks[{at}]", _not_importable(hook)))
    if problems:
        raise BadSettings(problems)
    return found


def _path_of(hook: object) -> str | None:
    """`module:name` by which any process finds this very thing."""
    module, name = getattr(hook, "__module__", None), getattr(hook, "__qualname__", None)
    if not (inspect.isclass(hook) or inspect.isfunction(hook)) or not module or not name:
        return None
    if module == "__main__" or "<" in name:
        return None
    return f"{module}:{name}"


def _not_importable(hook: object) -> str:
    what = "lambdas and functions inside functions" if "<" in getattr(hook, "__qualname__", "") else "this object"
    if getattr(hook, "__module__", "") == "__main__" and "<" not in getattr(hook, "__qualname__", ""):
        what = "what is defined in a notebook or a script"
    return (
        f"{what} cannot be found by the processes that run hooks; put the hook's class into a module that they can "
        'import (PYTHONPATH, or an installed package) and name it: "my_hooks:Shout", or '
        '{"use": "my_hooks:Shout", "with": {…}}'
    )


def _found(use: str) -> Callable[..., Any]:
    path = BUILT_IN.get(use, use)
    if ":" not in path:
        (entry, *_) = entry_points(group=GROUP, name=path) or (None,)
        if entry is None:
            raise BadHook(_unknown(use))
        path = entry.value
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        hint = "" if missing != module.partition(".")[0] else "; is its folder on PYTHONPATH where Raygate was started?"
        raise BadHook(f"`{use}` cannot be imported: there is no module `{missing}`{hint}") from error
    except Exception as error:
        raise BadHook(f"`{use}` cannot be imported: {type(error).__name__} in `{module}`") from error
    for part in name.split("."):
        if not hasattr(found, part):
            close = nearest(part, [one for one in dir(found) if not one.startswith("_")])
            hint = f"; did you mean `{close[0]}`?" if close else ""
            raise BadHook(f"`{use}` cannot be imported: `{module}` has no `{part}`{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise BadHook(f"`{use}` is {type(found).__name__}, and should be a class, or a function that makes a hook")
    made: Callable[..., Any] = found
    return made


def _unknown(use: str) -> str:
    known = [*BUILT_IN, *(one.name for one in entry_points(group=GROUP))]
    close = nearest(use, known)
    hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(known)}"
    return f"there is no hook named `{use}`; {hint} Code of your own is named module:name"


def _fit(maker: Callable[..., Any], options: Mapping[str, Any], use: str) -> None:
    """Raises `BadHook` where it takes no such option, or lacks one."""
    try:
        takes = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # made in C; it will say so itself
        return
    if any(one.kind is one.VAR_KEYWORD for one in takes):
        known = set(options)
    else:
        known = {one.name for one in takes if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
    if unknown := sorted(options.keys() - known):
        what = unknown_key(unknown[0], known) if known else f"`{use}` takes no options"
        raise BadHook(what, unknown[0])
    named = (one for one in takes if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))
    if missing := [one.name for one in named if one.default is one.empty and one.name not in options]:
        raise BadHook(f"`{use}` needs `with: {{{missing[0]}: …}}`", missing[0])


def _resolved(value: Any, env: Mapping[str, str]) -> Any:
    match value:
        case str() if value.startswith(REFERENCE):
            name = value.removeprefix(REFERENCE)
            if not (found := env.get(name)):
                raise BadHook(f"environment variable {re.sub(r'[^A-Za-z0-9_]', '', name)} is not set in this process")
            return found
        case Mapping():
            return {key: _resolved(one, env) for key, one in value.items()}
        case list() | tuple():
            return [_resolved(one, env) for one in value]
        case _:
            return value


def _discard(hook: Any) -> None:
    ending = getattr(hook, "close", None)
    if callable(ending) and not inspect.iscoroutinefunction(ending):
        ending()
