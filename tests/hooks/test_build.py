"""From settings to hooks: what is found where, and what is said of what cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtime.hooks import Before, build
from runtime.hooks.build import BUILT_IN, BadHook, Rack, close, make, problems_of, settings_of
from runtime.settings import BadSettings, HookSettings, Settings, load
from runtime.settings.difference import difference, masked, references
from tests.fakes.clock import FakeClock

MODULE = '''
made = []

class Polite:
    """Takes a word."""
    def __init__(self, *, word, loud=False):
        if word == "rude":
            raise ValueError("`word` should be polite")
        if word == "broken":
            raise RuntimeError("a secret")
        self.word = word
        made.append(self)
        self.closed = 0
    def pre(self, asked):
        return None
    async def close(self):
        self.closed += 1

class Guard(Polite):
    guard = True

class Nothing:
    pass

def factory(**options):
    return Polite(word="made by a function")

VALUE = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "polite_hooks.py").write_text(MODULE)
    (tmp_path / "broken_hooks.py").write_text("import nothing_of_this_name")
    (tmp_path / "raising_hooks.py").write_text("raise RuntimeError('a secret')")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("polite_hooks", "broken_hooks", "raising_hooks"):
        sys.modules.pop(name, None)


def hook(use: str, **said: Any) -> HookSettings:
    return HookSettings.model_validate({"use": use, **said})


def settings(*hooks: Any, **more: Any) -> Settings:
    return Settings.model_validate({"hooks": list(hooks), **more})


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_is_there_and_has_something_to_do(name: str) -> None:
    needs: dict[str, Any] = {"cost": {"max_usd": 1}, "guardrail": {"words": ["x"]}, "log": {"path": "/tmp/x.jsonl"}}
    assert make(hook(name, **{"with": needs.get(name, {})}), {}) is not None


def test_a_class_or_a_function_is_found_by_its_path() -> None:
    assert make(hook("polite_hooks:Polite", **{"with": {"word": "please"}}), {}).word == "please"
    assert make(hook("polite_hooks:factory", **{"with": {"anything": 1}}), {}).word == "made by a function"


def test_an_entry_point_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("acme", "polite_hooks:factory", build.GROUP)
    monkeypatch.setattr(build, "entry_points", lambda **said: EntryPoints([entry]).select(**said))
    assert make(hook("acme"), {}).word == "made by a function"


def test_a_secret_is_looked_up_where_the_hook_is_made() -> None:
    ours = hook("polite_hooks:Polite", **{"with": {"word": "os.environ/WORD"}})
    assert make(ours, {"WORD": "thanks"}).word == "thanks"
    with pytest.raises(BadHook, match="environment variable WORD is not set"):
        make(ours, {})


@pytest.mark.parametrize(
    ("use", "options", "path", "why"),
    [
        ("redcat", {}, "hooks[0]", "did you mean `redact`?"),
        ("no_such_module:Hook", {}, "hooks[0]", "PYTHONPATH"),
        ("broken_hooks:Hook", {}, "hooks[0]", "there is no module `nothing_of_this_name`"),
        ("raising_hooks:Hook", {}, "hooks[0]", "RuntimeError in `raising_hooks`"),
        ("polite_hooks:Polit", {}, "hooks[0]", "did you mean `Polite`?"),
        ("polite_hooks:VALUE", {}, "hooks[0]", "should be a class"),
        ("polite_hooks:Nothing", {}, "hooks[0]", "none of a hook's methods"),
        ("polite_hooks:Polite", {}, "hooks[0].with.word", "needs"),
        ("polite_hooks:Polite", {"word": "x", "lout": True}, "hooks[0].with.lout", "did you mean `loud`?"),
        ("polite_hooks:Polite", {"word": "rude"}, "hooks[0]", "`word` should be polite"),
        ("polite_hooks:Polite", {"word": "broken"}, "hooks[0]", "RuntimeError"),
        ("redact", {"kind": ["email"]}, "hooks[0].with.kind", "did you mean `kinds`?"),
        (
            "guardrail",
            {
                "patterns": ["("],
            },
            "hooks[0]",
            "no regular expression",
        ),
        ("cost", {}, "hooks[0]", "say what is bounded"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_and_without_secrets(
    use: str, options: dict[str, Any], path: str, why: str
) -> None:
    (problem,) = problems_of(settings({"use": use, "with": options}), {})
    assert problem.path == path
    assert why in problem.what
    assert "a secret" not in problem.what


def test_all_problems_are_said_at_once() -> None:
    found = problems_of(settings("redcat", "redact", "no_such_module:Hook"), {})
    assert [one.path for one in found] == ["hooks[0]", "hooks[2]"]


@pytest.mark.parametrize("use", ["", "two words", "a:b:c", "../x"])
def test_a_name_that_is_none_is_refused_with_the_settings(use: str) -> None:
    with pytest.raises(ValueError, match="use"):
        hook(use)


# From version to version.


def test_what_stays_the_same_stays_and_what_goes_is_told_once() -> None:
    rack = Rack(FakeClock())
    one, two = (
        {"use": "polite_hooks:Polite", "with": {"word": "a"}},
        {"use": "polite_hooks:Polite", "with": {"word": "b"}},
    )
    first = rack.chain(settings(one, two, one), {})
    assert first is not None
    second = rack.chain(settings(two, one), {})
    assert second is not None
    assert [mounted.hook.word for mounted in second.hooks] == ["b", "a"]
    assert second.hooks[0] is first.hooks[1]
    assert second.hooks[1] is first.hooks[0]
    assert list(rack.leaving()) == [first.hooks[2]]
    assert list(rack.leaving()) == []
    assert rack.chain(settings(), {}) is None


async def test_a_hook_that_has_left_is_closed() -> None:
    rack = Rack(FakeClock())
    rack.chain(settings({"use": "polite_hooks:Polite", "with": {"word": "a"}}), {})
    rack.chain(settings(), {})
    (left,) = rack.leaving()
    await close(left)
    assert left.hook.closed == 1


@pytest.mark.parametrize(("said", "guards"), [(None, True), ("ignore", False), ("refuse", True)])
def test_a_guard_is_one_by_itself_or_by_the_settings(said: str | None, guards: bool) -> None:
    rack = Rack(FakeClock())
    more = {} if said is None else {"on_failure": said}
    chain = rack.chain(settings({"use": "polite_hooks:Guard", "with": {"word": "a"}, **more}), {})
    assert chain is not None
    assert chain.hooks[0].guard is guards


async def test_a_guard_that_cannot_be_made_here_lets_nothing_pass() -> None:
    rack = Rack(FakeClock())
    chain = rack.chain(settings({"use": "no_such_module:Hook", "on_failure": "refuse"}), {})
    assert chain is not None
    from runtime.outcome import Failure
    from runtime.request import ask

    async def nobody(request: Any) -> Any:
        raise AssertionError("asked")

    outcome = await chain.complete(ask("hi"), nobody, estimates=lambda _: ())
    assert isinstance(outcome, Failure)
    assert outcome.code == "guard_failed"


# In Python.


class Importable:
    def pre(self, asked: Before) -> None: ...


def test_hooks_given_in_python_become_settings() -> None:
    found = settings_of(["redact", {"use": "cost", "with": {"max_usd": 1}}, Importable, hook("metrics")])
    assert found[2] == {"use": f"{__name__}:Importable"}
    assert [one.use for one in settings(*found).hooks] == ["redact", "cost", f"{__name__}:Importable", "metrics"]


def test_what_other_processes_cannot_import_is_refused_with_what_to_do() -> None:
    class Local:
        def pre(self, asked: Before) -> None: ...

    with pytest.raises(BadSettings) as raised:
        settings_of([lambda asked: None, Local, Importable()])
    said = str(raised.value)
    assert said.count('name it: "my_hooks:Shout"') == 3
    assert "lambdas and functions inside functions" in said


# As settings.


def test_the_short_form_comes_back_short_and_the_long_one_whole() -> None:
    said = ["redact", {"use": "cost", "with": {"max_usd": 1}, "routes": ["fast"]}]
    document = settings(*said).to_document()
    assert document["hooks"] == said
    assert Settings.from_document(document) == settings(*said)


def test_a_file_may_name_secrets_and_none_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text(
        "hooks:\n  - use: polite_hooks:Polite\n    with: {word: os.environ/WORD, other: literal-secret}\n"
        "alerts:\n  webhooks:\n    - {url: os.environ/HOOK, secret: literal-secret}\n"
    )
    read = load(file, {"WORD": "the-word", "HOOK": "https://h.example/x"})
    assert read.hooks[0].options["word"] == "os.environ/WORD"
    assert set(references(read)) == {"WORD", "HOOK"}
    shown = repr(read) + str(masked(read)) + str(difference(Settings(), read)) + repr(read.hooks)
    assert "literal-secret" not in shown
    assert "the-word" not in str(read.to_document())
    with pytest.raises(BadSettings, match="HOOK is not set"):
        load(file, {"WORD": "x"})


def test_an_unknown_key_of_a_hook_is_named(tmp_path: Path) -> None:
    file = tmp_path / "raygate.yaml"
    file.write_text("hooks:\n  - {use: redact, timeout: 3}\n")
    with pytest.raises(BadSettings, match=r"unknown key `timeout`; did you mean `timeout_s`\?"):
        load(file, {})


def test_the_schema_for_editors_knows_both_forms() -> None:
    schema = Settings.model_json_schema()
    jsonschema.validate({"hooks": ["redact", {"use": "cost", "with": {"max_usd": 1}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"hooks": [{"use": "cost", "options": {}}]}, schema)
