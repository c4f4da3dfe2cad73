"""What can be typed, and what becomes of everything that goes wrong: one line, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from serve.cli.cache_commands import cache_app
from serve.cli.errors import BAD_INPUT, FAILED, Ended
from serve.cli.learn_commands import learn_app
from serve.cli.options import Config, Json, Key, Url

# Without rich: its help pages are prettier, and cost more than all the rest.
app = typer.Typer(rich_markup_mode=None, add_completion=True, pretty_exceptions_enable=False)
config_app = typer.Typer(rich_markup_mode=None, help="Look after settings files.")
app.add_typer(config_app, name="config")
keys_app = typer.Typer(rich_markup_mode=None, help="Make, list and revoke callers' keys.")
app.add_typer(keys_app, name="keys")
budget_app = typer.Typer(rich_markup_mode=None, help="Bound what keys, teams and organisations spend.")
app.add_typer(budget_app, name="budget")
app.add_typer(learn_app, name="learn")
app.add_typer(cache_app, name="cache")


class Proxy(StrEnum):
    HAPROXY = "haproxy"
    PYTHON = "python"
    AUTO = "auto"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"raygate {version('raygate')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """One endpoint for many LLM providers, on Ray."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def up(
    config: Config = None,
    proxy: Annotated[Proxy | None, typer.Option(help="Who listens for HTTP; auto: haproxy on Linux.")] = None,
    as_json: Json = False,
) -> None:
    """Start Raygate, or adopt the one that runs.

    With a file, one that runs is given its settings, as by `raygate config apply FILE`. Without one it keeps those
    that it has.
    """
    from serve.cli import lifecycle

    lifecycle.up(config, proxy=proxy.value if proxy else None, as_json=as_json)


@app.command()
def down(config: Config = None, as_json: Json = False) -> None:
    """End everything that `raygate up` started."""
    from serve.cli import lifecycle

    lifecycle.down(config, as_json=as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Show providers, replicas, the ledger, budgets nearly spent, and who listens where."""
    from serve.cli import status as command

    command.status(as_json=as_json)


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one picture, and end.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Watch providers, attempts and spend, live, until ^C."""
    from serve.cli import top as command

    command.top(url=url, key=key, once=once)


@app.command()
def doctor(
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider.")] = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with machine, settings and keys, and say what to do.

    Providers are asked by calls that cost nothing. Nothing is changed. The exit code is 1 where something is wrong.
    """
    from serve.cli import doctor as command

    command.doctor(config, offline=offline, as_json=as_json)


@app.command()
def chat(  # noqa: PLR0917  # typer calls it by name
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    model: Annotated[str, typer.Option("--model", "-m", help="provider/model, a model, or a route.")] = "",
    system: Annotated[str, typer.Option("--system", "-s", help="Instructions that come before the prompt.")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="End the answer after so many tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="0 is the most predictable.")] = None,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Ask one question; the answer appears as it comes."""
    from serve.cli import chat as command

    ask = command.Ask(prompt=prompt, model=model, system=system, max_tokens=max_tokens, temperature=temperature)
    command.chat(ask, url=url, key=key, as_json=as_json)


@app.command()
def replay(  # noqa: PLR0917  # typer calls it by name
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A line of JSON for each request.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The answers; else FILE's name in .answers.jsonl.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Ask this one, whatever the requests say.")] = "",
    at_once: Annotated[int, typer.Option("--concurrency", "-n", min=1, max=1_000, help="So many at once.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    max_usd: Annotated[float | None, typer.Option(min=0, help="Ask no more once this much is spent.")] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="Tell the learner which answers were right.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask all again, and forget earlier answers.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Send a file of requests, and report cost, latency and quality.

    A line is a body of /v1/chat/completions, a line of an OpenAI batch file, or {"prompt": "…"}; `expect` beside it
    names a text that a right answer holds, or several. Run again, it goes on where it ended.
    """
    from serve.cli import replay as command

    wish = command.Wish(model=model, at_once=at_once, limit=limit, max_usd=max_usd, feedback=feedback, fresh=fresh)
    command.replay(file, out, wish, url=url, key=key, as_json=as_json)


@app.command()
def calibrate(  # noqa: PLR0917  # typer calls it by name
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="A line of JSON for each prompt.")],
    models: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Ask this one (provider/model); repeat. Else --route's.")
    ] = None,
    route: Annotated[str, typer.Option(help="Ask whom this name leads to.")] = "ruvector-auto",
    judge: Annotated[
        str, typer.Option(help="A model that grades answers of which nobody knows how good they are.")
    ] = "",
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines with custom_id, model and score, of answers kept before.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The answers; else FILE's name in .calibration.jsonl.")
    ] = None,
    at_once: Annotated[int, typer.Option("--concurrency", "-n", min=1, max=1_000, help="So many at once.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many prompts.")] = None,
    max_usd: Annotated[
        float | None, typer.Option(min=0, help="Ask no more once this much is spent; else twice the estimate.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking whether the cost is right.")] = False,
    org: Annotated[str, typer.Option(help="Who learns; else the organisation of the key.")] = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Put prompts to several models, so that what is learned need not begin with nothing.

    A line is as `replay` takes it. How good answers are is told by `expect` (what a right answer holds), by `scores`
    (a number from 0 to 1 for each model; who has one is not asked), by --scores, or by --judge. Requests are ordinary
    ones, on the key's budget. Run again, it goes on where it ended.
    """
    from serve.cli import calibrate as command

    wish = command.Calibration(
        models=tuple(models or ()), route=route, judge=judge, at_once=at_once, limit=limit, max_usd=max_usd, yes=yes
    )
    command.calibrate(file, scores, out, wish, org=org, url=url, key=key, as_json=as_json)


@app.command()
def models(url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """List the models and their prices."""
    from serve.cli import models as command

    command.models(url=url, key=key, as_json=as_json)


@app.command()
def events(
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only of this type: response, error, budget, … Repeat.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="With the prompts, as the hooks left them.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Show what happens in the whole cluster, as it happens, until ^C."""
    from serve.cli import events as command

    command.tail(tuple(types or ()), prompts=prompts, url=url, key=key, as_json=as_json)


@config_app.command("check")
def check(file: Annotated[Path, typer.Argument(metavar="FILE")], as_json: Json = False) -> None:
    """Say whether a settings file is right, and which providers result from it."""
    from serve.cli import config

    config.check(file, as_json=as_json)


@config_app.command("show")
def show(as_json: Json = False) -> None:
    """Print the settings that hold now, without secrets."""
    from serve.cli import config

    config.show(as_json=as_json)


@config_app.command("schema")
def schema() -> None:
    """Print the JSON schema of a settings file, for editors that complete and check YAML by one."""
    from serve.cli import config

    config.schema()


@config_app.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Give the Raygate that runs the settings of a file: all of it, or nothing.

    Shows what differs, and waits until every replica goes by it. What a file does not say has its default, as for
    `raygate up`. Requests under way end as they began; breakers, waits and spend are kept. A file with a mistake
    changes nothing (exit code 2), and so does one that came too late, because somebody else changed the settings
    meanwhile (1). host, port, replicas, proxy and ray count from the next start on. Providers that come up by
    themselves are those whose keys were in the environment when Raygate was started.
    """
    from serve.cli import config

    config.apply(file, dry_run=dry_run, as_json=as_json)


@keys_app.command("create")
def create_key(  # noqa: PLR0917  # typer calls it by name
    name: Annotated[str, typer.Argument(help="What people know it by.")] = "",
    team: Annotated[str, typer.Option(help="The team whose budgets also hold.")] = "",
    models: Annotated[list[str] | None, typer.Option("--model", "-m", help="May use; * and ? match. Repeat.")] = None,
    routes: Annotated[list[str] | None, typer.Option("--route", help="May ask for; * and ? match. Repeat.")] = None,
    networks: Annotated[list[str] | None, typer.Option("--network", help="May call from, as 10.0.0.0/8.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Stands in every row. Repeat.")] = None,
    budget: Annotated[list[str] | None, typer.Option(help="As 50/month or 5/day, in dollars. Repeat.")] = None,
    requests_per_min: Annotated[int | None, typer.Option(min=0)] = None,
    tokens_per_min: Annotated[int | None, typer.Option(min=0)] = None,
    concurrent: Annotated[int | None, typer.Option(min=0, help="Requests at one time.")] = None,
    expires_in_days: Annotated[float | None, typer.Option(min=0)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May also do what this command does.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this one time."""
    from serve.cli import accounts

    rate = {"requests_per_min": requests_per_min, "tokens_per_min": tokens_per_min, "concurrent": concurrent}
    wish = {
        "name": name,
        "team": team,
        "models": models or [],
        "routes": routes or [],
        "networks": networks or [],
        "tags": tags or [],
        "budgets": [accounts.budget_of(said) for said in budget or []],
        "rate": {what: most for what, most in rate.items() if most is not None},
        "admin": admin,
        **({} if expires_in_days is None else {"expires_in_days": expires_in_days}),
    }
    accounts.create(wish, url=url, key=key, as_json=as_json)


@keys_app.command("list")
def list_keys(url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """List all keys with their limits, never the keys themselves."""
    from serve.cli import accounts

    accounts.listed(url=url, key=key, as_json=as_json)


@keys_app.command("revoke")
def revoke_key(
    account: Annotated[str, typer.Argument(metavar="ID")], url: Url = "", key: Key = "", as_json: Json = False
) -> None:
    """End a key for good, within a second everywhere."""
    from serve.cli import accounts

    accounts.revoke(account, url=url, key=key, as_json=as_json)


@keys_app.command("renew")
def renew_key(as_json: Json = False) -> None:
    """Make another first key; the old one lets nobody in any more, within a second everywhere.

    On the machine on which Raygate was started. Other keys stay as they are.
    """
    from serve.cli import accounts

    accounts.renew(as_json=as_json)


@app.command()
def spend(  # noqa: PLR0917  # typer calls it by name
    by: Annotated[str, typer.Option(help="Of org, team, key, tag, route, provider, model; commas between.")] = "model",
    last: Annotated[str, typer.Option(help="How far back: 24h, 7d, 4w.")] = "30d",
    each: Annotated[str, typer.Option(help="hour, day, week, month or total.")] = "total",
    only: Annotated[list[str] | None, typer.Option(help="As team=red or model=gpt-4o. Repeat.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every attempt to FILE: .csv, .jsonl or .parquet.")
    ] = None,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Show what was spent, and on what; what had no known price is counted, never added as zero."""
    from serve.cli import spend as command

    narrowed = command.only_of(only or [])
    if export is not None:
        command.export(export, last=last, only=narrowed, url=url, key=key, as_json=as_json)
    else:
        command.spend(by=by, last=last, each=each, only=narrowed, url=url, key=key, as_json=as_json)


class Scope(StrEnum):
    KEY = "key"
    TEAM = "team"
    ORG = "org"


@budget_app.command("set")
def set_budget(  # noqa: PLR0917  # typer calls it by name
    scope: Scope,
    account: Annotated[str, typer.Argument(metavar="ID")],
    budget: Annotated[str, typer.Argument(help="As 50/month, 5/day or 100/total, in dollars.")],
    warn_at: Annotated[float, typer.Option(min=0, max=1, help="The share of it at which there is a warning.")] = 0.8,
    soft: Annotated[bool, typer.Option("--soft", help="Warn only.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Bound what a key, a team or an organisation spends in a period."""
    from serve.cli import accounts

    wish = {**accounts.budget_of(budget), "warn_at": warn_at, "hard": not soft}
    accounts.set_budget(scope.value, account, wish, url=url, key=key, as_json=as_json)


@budget_app.command("remove")
def remove_budget(  # noqa: PLR0917  # typer calls it by name
    scope: Scope,
    account: Annotated[str, typer.Argument(metavar="ID")],
    period: Annotated[str, typer.Argument(help="hour, day, week, month or total")],
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Take a budget away."""
    from serve.cli import accounts

    accounts.remove_budget(scope.value, account, period, url=url, key=key, as_json=as_json)


@app.command()
def backup(
    to: Annotated[
        str, typer.Argument(metavar="DEST", help="A file, a folder, or an address: s3://…, gs://…, file://…")
    ],
    as_json: Json = False,
) -> None:
    """Write ledger, settings, keys' hashes and what was learned into one file, while everything goes on.

    In a folder (a DEST that ends with / is one) the file is named by the moment. The file may hold secrets that
    stand in the settings as they are.
    """
    from serve.cli import backup as command

    command.backup(to, as_json=as_json)


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A backup; or a folder, of which the newest is taken.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put aside what is here.")] = False,
    if_any: Annotated[bool, typer.Option("--if-any", help="Fine if there is none.")] = False,
    as_json: Json = False,
) -> None:
    """Make this machine's Raygate, which must not run, what a backup holds: all of it or nothing."""
    from serve.cli import backup as command

    command.restore(source, replace=replace, if_any=if_any, as_json=as_json)


def run(args: Sequence[str] | None) -> int:
    """The exit code of these arguments."""
    try:
        code = app(args, prog_name="raygate", standalone_mode=False)
    except Ended as ended:
        return _end(ended.message, ended.code)
    except TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        path = context.command_path if context else "raygate"
        return _end(f"{error.format_message().rstrip('.')} (see `{path} --help`)", BAD_INPUT)
    except typer.Abort:
        return _end("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain at its exit.
        sys.stdout = None
        return FAILED
    except Exception as error:
        return _end(f"an error inside Raygate ({type(error).__name__}); {_keep(error)}", FAILED)
    if code == 130:
        return _end("interrupted", 130)
    return code if isinstance(code, int) else 0


def _end(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"raygate: {line}", file=sys.stderr)
    return code


def _keep(error: Exception) -> str:
    """Put what a developer wants to see where it disturbs nobody."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="raygate-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return f"please report it with what is in {file.name}"
