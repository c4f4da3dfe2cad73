"""Settings: what is read, what is refused and in which words, and that secrets stay secret."""

from __future__ import annotations

import json
import os
import pickle
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from runtime.settings import (
    ALSO_READ,
    BadSettings,
    EnvReference,
    HedgeSettings,
    ProviderKind,
    ProviderSettings,
    Reach,
    RouteSettings,
    Settings,
    detect,
    effective,
    load,
    nearest,
    resolve_secret,
)

SECRET = "sk-do-not-show-this"


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(text: str, **env: str) -> Settings:
        path = tmp_path / "raygate.yaml"
        path.write_text(text)
        return load(path, env)

    return read


@pytest.fixture
def problems(read, tmp_path: Path):  # type: ignore[no-untyped-def]
    def problems(text: str, **env: str) -> list[str]:
        with pytest.raises(BadSettings) as raised:
            read(text, **env)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None
        return str(raised.value).replace(f"{tmp_path}/", "").splitlines()

    return problems


# What is read.


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "{}", "---\n"])
def test_an_empty_file_is_fine(read, text: str) -> None:
    assert read(text) == Settings() == load(None, {})


def test_a_file_is_read(read) -> None:
    settings = read("""
port: 9000
retry: {max_attempts: 2}
providers:
  fast:
    kind: openai
    models: [gpt-4o-mini]
    sampling: {temperature: 0.2, stop: ["\\n"]}
models:
  fast/gpt-4o-mini: {price: {input: 0.15, output: "0.6"}, features: [tools]}
routes: {cheap: [fast/gpt-4o-mini, local]}
""")
    assert settings.port == 9000
    assert settings.retry.max_attempts == 2
    assert settings.retry.cap_s == 5.0
    assert settings.providers["fast"].kind is ProviderKind.OPENAI
    assert settings.providers["fast"].sampling.stop == ("\n",)
    price = settings.models["fast/gpt-4o-mini"].price
    assert price is not None
    assert price.pricing().input == 150_000_000
    assert settings.routes == {"cheap": RouteSettings(targets=("fast/gpt-4o-mini", "local"))}


def test_the_environment_wins_over_the_file(read) -> None:
    settings = read(
        "port: 9000\nretry: {max_attempts: 2, cap_s: 9}\n", RAYGATE_RETRY__MAX_ATTEMPTS="3", RAYGATE_STRATEGY="latency"
    )
    assert settings.port == 9000
    assert settings.retry.max_attempts == 3
    assert settings.retry.cap_s == 9
    assert settings.strategy == "latency"


def test_a_provider_can_come_from_the_environment_alone() -> None:
    settings = load(
        None,
        {
            "RAYGATE_PROVIDERS__MINE__KIND": "custom",
            "RAYGATE_PROVIDERS__MINE__BASE_URL": "http://10.0.0.1:8000/v1/",
            "RAYGATE_PROVIDERS__MINE__MODELS": '["a", "b"]',
            "RAYGATE_MODELS": '{"mine/a": {"context_length": 10}}',
            "RAYGATE_REPLICAS": "",
        },
    )
    assert settings.providers["mine"].url == "http://10.0.0.1:8000/v1"
    assert settings.providers["mine"].models == ("a", "b")
    assert settings.models["mine/a"].context_length == 10
    assert settings.replicas == 1


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "RAYGATE_PORT", "1")
    monkeypatch.setitem(os.environ, "OPENAI_API_KEY", SECRET)
    assert load(None, {}).port == Settings().port == 8000
    assert not detect({}).providers


def test_two_providers_of_one_kind_stand_side_by_side(read) -> None:
    settings = read("providers: {a: {kind: openai, priority: 1}, b: {kind: openai, base_url: 'http://b/v1'}}")
    assert settings.providers["a"].url == "https://api.openai.com/v1"
    assert settings.providers["b"].url == "http://b/v1"


@pytest.mark.parametrize("name", ALSO_READ)
def test_variables_of_other_parts_are_left_alone(name: str) -> None:
    assert load(None, {name: "x", name.lower(): "y"}) == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


# What is refused, and in which words.


def test_all_problems_are_told_at_once_each_with_its_place(problems) -> None:
    assert problems(
        """port: many
reties: {}
providers:
  one:
    kind: opena
    base_ur: http://one/v1
""",
        RAYGATE_RETRY__MAX_ATTEMPT="3",
        RAYGATE_PROT="1",
    ) == [
        "environment variable RAYGATE_PROT: is no setting; did you mean `RAYGATE_PORT`?",
        "raygate.yaml:1: port: should be a valid integer, unable to parse string as an integer",
        "environment variable RAYGATE_RETRY__MAX_ATTEMPT: retry.max_attempt: unknown key `max_attempt`; "
        "did you mean `max_attempts`?",
        "raygate.yaml:5: providers.one.kind: should be 'openai', 'openrouter', 'anthropic', 'google', 'cohere', "
        "'ollama', 'ruvllm', 'local', 'scripted' or 'custom'",
        "raygate.yaml:6: providers.one.base_ur: unknown key `base_ur`; did you mean `base_url`?",
        "raygate.yaml:2: reties: unknown key `reties`; did you mean `retry`?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", "raygate.yaml:2: expected ',' or ']', but got ':'"),
        ("- 1", "raygate.yaml:1: should be a mapping of keys to values"),
        ("port: 1\nport: 2", "raygate.yaml:2: port: is there twice, first on line 1"),
        ("providers: {a: {kind: custom}}", "needs a `base_url`: this kind has no address of its own"),
        ("providers: {a: {kind: openai, base_url: a.example}}", "should begin with http:// or https:// and a host"),
        ("providers: {a: {kind: ollama, base_url: 'http://b:1/v1'}}", "`ollama` should end before `/v1`"),
        ("providers: {a: {kind: google, base_url: 'http://b/v1beta/openai/'}}", "endpoint is of kind `custom`"),
        ("providers: {a: {kind: cohere, base_url: 'http://b/compatibility/v1'}}", "end before `/compatibility/v1`"),
        ("models: {a/b: {unsupported_parameters: [temprature]}}", "should be 'temperature', 'top_p'"),
        ("providers: {a: {kind: openai, script: []}}", "only a provider of kind `scripted` plays a `script`"),
        ("providers: {a/b: {kind: openai}}", "provider name `a/b` should be letters"),
        ("models: {gpt: {}}", "`models` key `gpt` should be provider/model"),
        ("models: {a/b: {price: {input: 1}}}", "models.a/b.price.output: is needed here"),
        ("models: {a/b: {price: {input: -1, output: 0}}}", "models.a/b.price.input: should be greater than or equal"),
        ("routes: {r: []}", "route `r` leads nowhere"),
        ("routes: {r: {max_attempts: 2}}", "route `r` leads nowhere"),
        ("routes: {r: a}", "routes.r: should be a list of targets, or a mapping with `targets`"),
        ("routes: {r: {targets: [a], max_attemps: 2}}", "unknown key `max_attemps`; did you mean `max_attempts`?"),
        ("routes: {r: {targets: [a], attempt: {first_s: 2}}}", "unknown key `first_s`; did you mean `first_token_s`?"),
        ("routes: {r: {targets: [a], hedge: {quantil: 0.9}}}", "unknown key `quantil`; did you mean `quantile`?"),
        ("routes: {r: {targets: [a], hedge: {quantile: 0.9, after_s: 1}}}", "the same in two ways; keep one of them"),
        ("routes: {r: {targets: [a], content_filter: stop}}", "should be 'fail' or 'next'"),
        ("hedge: {max_share: 2}", "hedge.max_share: should be less than or equal to 1"),
        ("timeouts: {total_s: .inf}", "timeouts.total_s: should be a finite number"),
        ("providers: {a: {kind: openai, sampling: {temperature: 3}}}", "less than or equal to 2"),
        ("local: 3", "raygate.yaml:1: local: should be a valid dictionary or instance of LocalSettings"),
    ],
)
def test_what_is_wrong_is_said(problems, text: str, said: str) -> None:
    assert said in "\n".join(problems(text))


def test_a_provider_given_twice_does_not_vanish(problems) -> None:
    """The first system kept the last of two configurations and said nothing."""
    text = "providers:\n  a: {kind: openai}\n  a: {kind: google}\n"
    assert problems(text) == ["raygate.yaml:3: providers.a: is there twice, first on line 2"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RAYGATE_PORT__X", "1", "`RAYGATE_PORT` has nothing below it"),
        ("RAYGATE_ROUTES", "{nope", "should be JSON: a list or a mapping"),
        ("RAYGATE_STATEDIR", "x", "did you mean `RAYGATE_STATE_DIR`?"),
        ("RAYGATE_PORT", "x", "port: should be a valid integer"),
        ("RAYGATE_PROVIDERS__A__API_KEY", SECRET, "providers.a.kind: is needed here"),
    ],
)
def test_a_bad_variable_is_named(problems, variable: str, value: str, said: str) -> None:
    (problem,) = problems("", **{variable: value})
    assert problem.startswith(f"environment variable {variable}: ")
    assert said in problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"nowhere\.yaml: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml", {})


def test_problems_survive_pickling(problems) -> None:
    with pytest.raises(BadSettings) as raised:
        load(None, {"RAYGATE_PORT": "x"})
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_nearest_prefers_a_right_beginning() -> None:
    assert nearest("reties", ["routes", "retry", "ray"]) == ("retry",)
    assert nearest("zzz", ["routes", "retry"]) == ()


# Secrets and references.


def test_a_key_is_a_literal_or_a_reference(read) -> None:
    settings = read(
        f"providers: {{a: {{kind: openai, api_key: {SECRET}}}, b: {{kind: openai, api_key: os.environ/KEY}}}}", KEY="k"
    )
    assert settings.providers["a"].api_key == SecretStr(SECRET)
    assert settings.providers["b"].api_key == EnvReference("KEY")
    assert resolve_secret(settings.providers["a"].api_key, {}) == SECRET
    assert resolve_secret(settings.providers["b"].api_key, {"KEY": "later"}) == "later"
    assert resolve_secret(None, {}) is None
    with pytest.raises(BadSettings, match="environment variable KEY is not set"):
        resolve_secret(settings.providers["b"].api_key, {})


def test_a_provider_may_have_several_keys(read, problems) -> None:
    one = read(f"providers: {{a: {{kind: openai, api_keys: [{SECRET}, os.environ/KEY]}}}}", KEY="k").providers["a"]
    assert one.secrets == (SecretStr(SECRET), EnvReference("KEY"))
    assert SECRET not in repr(one)
    assert problems("providers: {a: {kind: openai, api_key: x, api_keys: [y]}}") == [
        "raygate.yaml:1: providers.a: has both `api_key` and `api_keys`: put all keys into `api_keys`"
    ]


def test_other_references_are_resolved_at_once(read) -> None:
    settings = read(
        "providers: {a: {kind: custom, base_url: os.environ/WHERE, headers: {X-Team: os.environ/TEAM}}}",
        WHERE="http://here/v1",
        TEAM="blue",
    )
    assert settings.providers["a"].base_url == "http://here/v1"
    assert settings.providers["a"].headers == {"X-Team": EnvReference("TEAM")}


def test_a_reference_that_leads_nowhere_is_said_once(problems) -> None:
    text = "providers:\n  a:\n    kind: custom\n    base_url: os.environ/WHERE\n    api_key: os.environ/KEY\n"
    assert problems(text) == [
        "raygate.yaml:4: providers.a.base_url: environment variable WHERE is not set",
        "raygate.yaml:5: providers.a.api_key: environment variable KEY is not set",
    ]


def test_what_is_switched_off_needs_no_key(read) -> None:
    assert not read("providers: {a: {kind: openai, enabled: false, api_key: os.environ/KEY}}").providers["a"].enabled


SECRETIVE = f"""
providers:
  a:
    kind: openai
    api_key: {SECRET}
    headers: {{Authorization: Bearer {SECRET}}}
    options: {{token: {SECRET}}}
"""


def test_secrets_are_not_shown(read) -> None:
    settings = read(SECRETIVE)
    for shown in (repr(settings), str(settings), repr(settings.providers["a"])):
        assert SECRET not in shown
    dumped = settings.providers["a"].model_dump_json(include={"api_key", "headers"})
    assert SECRET not in dumped
    assert "**********" in dumped


@pytest.mark.parametrize(
    "text",
    [
        f"port: {SECRET}",
        f"providers: {{a: {{kind: {SECRET}}}}}",
        f"providers: {{a: {{kind: openai, api_key: [{SECRET}]}}}}",
        f"providers: {{a: {{kind: openai, base_url: {SECRET}}}}}",
        f"providers: {{a: {{kind: openai, api_key: {{x: {SECRET}}}}}}}",
        f"providers: {SECRET}",
        f'api_key: "{SECRET}',
        f"api_key: !{SECRET}",
        f"api_key: *{SECRET}",
        f"api_key: [{SECRET}",
    ],
)
def test_no_error_shows_a_value(problems, text: str) -> None:
    assert SECRET not in "\n".join(problems(text))


# The stored document.


def test_a_document_comes_back_whole(read) -> None:
    settings = read(SECRETIVE + "models: {a/b: {price: {input: 0.1, output: 0.3}}}\nport: 1\nmax_cost_usd: 0.05\n")
    document = settings.to_document()
    assert Settings.from_document(document) == settings
    assert document["port"] == 1
    assert "host" not in document
    assert document["providers"]["a"]["api_key"] == SECRET


def test_a_stored_reference_is_its_name(read) -> None:
    document = effective(Settings(), {"OPENAI_API_KEY": SECRET}).settings.to_document()
    assert document["providers"]["openai"]["api_key"] == "os.environ/OPENAI_API_KEY"
    assert SECRET not in str(document)


def test_a_document_of_a_newer_version_is_understood() -> None:
    document = {"port": 1, "added_later": True, "providers": {"a": {"kind": "openai", "added_later": 1}}}
    settings = Settings.from_document(document)
    assert settings.port == 1
    assert settings.providers["a"].kind is ProviderKind.OPENAI


def test_a_broken_document_is_refused() -> None:
    with pytest.raises(BadSettings, match="stored settings: port: should be a valid integer"):
        Settings.from_document({"port": "x"})


# What the environment offers.


def test_nothing_is_detected_in_an_empty_environment() -> None:
    assert not detect({"OPENAI_API_KEY": ""}).providers


def test_openai_with_its_asides() -> None:
    openai = detect({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://proxy/v1", "OPENAI_ORG_ID": "o"}).providers
    assert openai["openai"] == ProviderSettings(
        kind=ProviderKind.OPENAI,
        api_key=EnvReference("OPENAI_API_KEY"),
        base_url="http://proxy/v1",
        headers={"OpenAI-Organization": EnvReference("OPENAI_ORG_ID")},
    )


@pytest.mark.parametrize(
    ("env", "name", "key", "url"),
    [
        ({"OPENROUTER_API_KEY": "k"}, "openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1"),
        ({"ANTHROPIC_AUTH_TOKEN": "k"}, "anthropic", "ANTHROPIC_AUTH_TOKEN", "https://api.anthropic.com/v1"),
        (
            {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "http://a/"},
            "anthropic",
            "ANTHROPIC_API_KEY",
            "http://a/v1",
        ),
        ({"GEMINI_API_KEY": "k"}, "google", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta"),
        ({"CO_API_KEY": "k", "COHERE_API_KEY": "c"}, "cohere", "CO_API_KEY", "https://api.cohere.com"),
        (
            {"COHERE_API_KEY": "c", "CO_API_URL": "https://co.example/v1/"},
            "cohere",
            "COHERE_API_KEY",
            "https://co.example",
        ),
        ({"OLLAMA_HOST": "box"}, "ollama", None, "http://box:11434"),
        ({"OLLAMA_HOST": "box:80"}, "ollama", None, "http://box:80"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "ollama", None, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "::1"}, "ollama", None, "http://[::1]:11434"),
        ({"OLLAMA_HOST": "[::]:99"}, "ollama", None, "http://[::1]:99"),
        ({"OLLAMA_HOST": "http://box:80/v1/"}, "ollama", None, "http://box:80"),
        ({"OLLAMA_HOST": "https://o.example/", "OLLAMA_API_KEY": "k"}, "ollama", "OLLAMA_API_KEY", "https://o.example"),
        ({"RUVLLM_URL": "http://localhost:3000/"}, "ruvllm", None, "http://localhost:3000"),
    ],
)
def test_each_vendor_is_detected(env: dict[str, str], name: str, key: str | None, url: str) -> None:
    found = detect(env)
    assert found.providers.keys() == {name}
    assert found.providers[name].api_key == (EnvReference(key) if key else None)
    assert found.providers[name].url == url
    assert not found.warnings


def test_google_wins_over_gemini_and_says_so() -> None:
    found = detect({"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": "x"})
    assert found.providers["google"].api_key == EnvReference("GOOGLE_API_KEY")
    assert found.warnings == ("GOOGLE_API_KEY and GEMINI_API_KEY are both set; GOOGLE_API_KEY is used",)


def test_a_token_is_sent_as_a_bearers() -> None:
    """Anthropic's SDK sends ANTHROPIC_AUTH_TOKEN so, and ANTHROPIC_API_KEY in a header of its own."""
    assert detect({"ANTHROPIC_AUTH_TOKEN": "t"}).providers["anthropic"].options == {"auth": "bearer"}
    assert detect({"ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_API_KEY": "k"}).providers["anthropic"].options == {}


@pytest.mark.parametrize(
    ("kind", "said", "url"),
    [
        ("anthropic", "https://proxy", "https://proxy/v1"),
        ("anthropic", "https://proxy/claude/v1/", "https://proxy/claude/v1"),
        ("google", "https://proxy", "https://proxy/v1beta"),
        ("google", "https://proxy/v1", "https://proxy/v1"),
        ("google", "https://proxy/v1alpha", "https://proxy/v1alpha"),
        ("cohere", "https://proxy/", "https://proxy"),
        ("openai", "https://proxy/openai", "https://proxy/openai"),
    ],
)
def test_an_address_ends_where_its_dialect_goes_on(read, kind: str, said: str, url: str) -> None:
    assert read(f"providers: {{p: {{kind: {kind}, base_url: '{said}'}}}}").providers["p"].url == url


def test_a_version_that_is_said_elsewhere_is_not_added(read) -> None:
    ours = read("providers: {p: {kind: google, base_url: 'https://p/x', options: {api_version: v1}}}").providers["p"]
    assert ours.url == "https://p/x"


def test_an_address_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadSettings, match="environment variable OPENAI_BASE_URL: `base_url` should begin"):
        detect({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "proxy"})


# What results.


def test_the_embedded_model_is_always_there() -> None:
    providers = effective(Settings(), {}).settings.providers
    assert providers.keys() == {"local"}
    assert providers["local"].reach is Reach.ACTOR
    assert not effective(load(None, {"RAYGATE_LOCAL__ENABLED": "false"}), {}).settings.providers


def test_what_is_configured_wins_over_what_is_detected(read) -> None:
    mine = read("providers: {openai: {kind: custom, base_url: 'http://mine/v1'}, local: {kind: local, priority: 3}}")
    providers = effective(mine, {"OPENAI_API_KEY": "k"}).settings.providers
    assert providers["openai"].kind is ProviderKind.CUSTOM
    assert providers["local"].priority == 3


def test_a_configured_provider_finds_its_key_unless_it_goes_elsewhere(read) -> None:
    mine = read("providers: {a: {kind: openai, max_in_flight: 2}, b: {kind: openai, base_url: 'http://elsewhere/v1'}}")
    providers = effective(mine, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://proxy/v1"}).settings.providers
    assert providers["a"].api_key == EnvReference("OPENAI_API_KEY")
    assert providers["a"].base_url == "http://proxy/v1"
    assert providers["a"].max_in_flight == 2
    assert providers["b"].api_key is None


def test_a_configured_provider_finds_how_its_token_is_sent(read) -> None:
    mine = read("providers: {a: {kind: anthropic, options: {beta: x}}}")
    providers = effective(mine, {"ANTHROPIC_AUTH_TOKEN": "t"}).settings.providers
    assert providers["a"].options == {"auth": "bearer", "beta": "x"}


def test_names_that_lead_nowhere_are_told(read) -> None:
    mine = read("default_model: lcal/x\nroutes: {r: [opnai/gpt-4o, bare]}\nmodels: {zzz/y: {}}")
    assert effective(mine, {"OPENAI_API_KEY": "k"}).warnings == (
        "default_model: there is no provider `lcal`; did you mean `local`?",
        "models `zzz/y`: there is no provider `zzz`",
        "route `r`: there is no provider `opnai`; did you mean `openai`?",
    )


def test_money_is_exact(read) -> None:
    assert read("max_cost_usd: 0.1").max_cost_usd == Decimal("0.1")


# Routes.


def test_a_route_is_a_list_or_says_more(read) -> None:
    settings = read("routes: {a: [x, y], b: {targets: [x], timeout_s: 20, hedge: {after_s: 2}}}")
    assert settings.routes["a"] == RouteSettings(targets=("x", "y"))
    assert settings.routes["b"] == RouteSettings(targets=("x",), timeout_s=20.0, hedge=HedgeSettings(after_s=2.0))


def test_a_route_says_how_its_targets_are_ordered_and_who_of_them_may_be_asked(read) -> None:
    settings = read(
        "providers: {a: {kind: scripted, weight: 3, tags: [eu]}}\n"
        "models: {a/m: {quality: 0.9}}\n"
        "routes: {r: {targets: [a/m], strategy: balanced, mode: quality, sticky: true, residency: [eu], "
        "max_latency_s: 4, min_quality: 0.5, rules: [{targets: [a], pattern: 'co+de', needs_tools: true}]}}"
    )
    route = settings.routes["r"]
    assert (route.strategy, route.mode, route.sticky, route.residency) == ("balanced", "quality", True, ("eu",))
    assert route.rules[0].rule().pattern.pattern == "co+de"
    assert Settings.from_document(json.loads(json.dumps(settings.to_document()))) == settings
    with pytest.raises(BadSettings, match="no regular expression"):
        read("routes: {r: {targets: [a/m], rules: [{targets: [a], pattern: '('}]}}")
    with pytest.raises(BadSettings, match="weight"):
        read("providers: {a: {kind: scripted, weight: -1}}")


def test_a_short_route_is_stored_as_it_was_written(read) -> None:
    """So an older version can read it, and so can people."""
    settings = read("routes: {a: [x, y], b: {targets: [x], timeout_s: 20}}")
    document = json.loads(json.dumps(settings.to_document()))
    assert document["routes"] == {"a": ["x", "y"], "b": {"targets": ["x"], "timeout_s": 20.0}}
    assert Settings.from_document(document) == settings


def test_a_stored_route_of_a_newer_version_is_read_without_what_is_new() -> None:
    stored = {"routes": {"a": {"targets": ["x"], "magic": 1, "hedge": {"after_s": 1, "magic": 2}}}}
    assert Settings.from_document(stored).routes["a"].hedge == HedgeSettings(after_s=1.0)


def test_a_stranger_among_the_larger_is_named(read) -> None:
    mine = read("routes: {r: {targets: [local/x], larger: [opnai/gpt-4o]}}")
    assert any("opnai" in warning for warning in effective(mine, {"OPENAI_API_KEY": SECRET}).warnings)


# Prices.


def test_every_form_of_a_price_can_be_said(read) -> None:
    settings = read("""
models:
  a/b:
    price:
      input: 1
      output: 5
      cached_input: 0.1
      reasoning: 4
      audio_input: 7
      web_search: 10
      per_request: 0.012
      above: {200000: {input: 2, output: 7.5}}
      changes: {2027-01-01: {input: 0.5, output: 2}}
""")
    price = settings.models["a/b"].price
    assert price is not None
    now, then = price.pricing(date(2026, 12, 31)), price.pricing(date(2027, 1, 1))
    assert (now.input, now.cached_input, now.reasoning, now.audio_input) == (10**9, 10**8, 4 * 10**9, 7 * 10**9)
    assert (now.web_search, now.per_request) == (10_000_000, 12_000_000)
    assert now.applies_up_to_tokens == 200_000
    assert now.beyond is not None
    assert (now.beyond.input, now.beyond.per_request, now.beyond.web_search) == (2 * 10**9, 12_000_000, 10_000_000)
    assert (then.input, then.beyond, then.source) == (5 * 10**8, None, "settings")
    assert Settings.from_document(json.loads(json.dumps(settings.to_document()))) == settings


def test_a_list_of_prices_lies_in_a_file_of_its_own(read, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("""
as_of: 2026-11-20
models:
  openai/gpt-4o-mini: {input: 0.1, output: 0.2}
  openai/ft:*: {input: 3, output: 6}
  "*/gpt-4o*": {input: 9, output: 9}
""")
    settings = read("price_file: prices.yaml\nprices: {models: {openai/gpt-4o-mini: {output: 0.3}}}")
    found = settings.prices.find("openai/gpt-4o-mini", date(2026, 11, 23))
    assert found is not None
    assert (found.input, found.output, found.as_of) == (10**8, 3 * 10**8, date(2026, 11, 20)), "ours go over the file's"
    tuned = settings.prices.find("openai/ft:gpt-4o-mini:me", date(2026, 11, 23))
    assert tuned is not None
    assert tuned.input == 3 * 10**9
    longest = settings.prices.find("lab/gpt-4o.1", date(2026, 11, 23))
    assert longest is not None
    assert settings.prices.find("openai/gpt-5", date(2026, 11, 23)) is None
    assert Settings.from_document(settings.to_document()).prices == settings.prices, "the file itself stays here"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: {gpt-4o: {input: 1, output: 2}}", "prices: price `gpt-4o` should be of a provider/model"),
        ("as_of: 2026-11-20\nmodels:\n  a/b: {input: 1}", "prices.yaml:3: prices.models.a/b.output: is needed here"),
        ("models:\n  a/b: {input: -1, output: 2}", "prices.yaml:2: prices.models.a/b.input: should be greater than"),
        (
            "models:\n  a/b: {inptu: 1}",
            "prices.yaml:2: prices.models.a/b.inptu: unknown key `inptu`; did you mean `input`?",
        ),
        ("as_of: yesterday", "prices.yaml:1: prices.as_of: should be a valid date"),
        ("prices: {}", "prices.yaml:1: prices.prices"),
        ("models: [", "prices.yaml:1"),
        ("- a", "prices.yaml:1: should be a mapping"),
    ],
)
def test_what_is_wrong_in_a_list_of_prices_is_named_with_its_line(
    problems, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    found = "\n".join(problems("price_file: prices.yaml"))
    assert problem in found, found


def test_a_list_of_prices_that_is_not_there_is_named(problems) -> None:
    assert "nowhere.yaml: cannot be read" in "\n".join(problems("price_file: nowhere.yaml"))
