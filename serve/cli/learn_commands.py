"""What can be typed after `raygate learn`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve.cli.options import Json, Key, Url

learn_app = typer.Typer(rich_markup_mode=None, help="What was learned, and what that is worth.")


@learn_app.command("replay")
def replay(
    pack: Annotated[Path, typer.Argument(metavar="PACK.parquet", help="Columns prompt, q:MODEL and c:MODEL.")],
    seeds: Annotated[str, typer.Option(help="One order of the prompts each, as 0-4 or 0,1,2.")] = "0-4",
    dataset: Annotated[str, typer.Option(help="Only rows whose column `dataset` says this.")] = "",
    priors: Annotated[
        bool, typer.Option("--priors/--no-priors", help="Start from what was published of models by their names.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Play recorded outcomes to the learner as production has it, revealing only the chosen model's.

    It knows prices, what it is shown and what was published of models; with --no-priors it begins with nothing.
    """
    from serve.cli import learn

    learn.replay(pack, seeds=seeds, dataset=dataset, priors=priors, as_json=as_json)


@learn_app.command("evaluate")
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Exported trajectories: .jsonl or .parquet.")],
    policy: Annotated[str, typer.Option(help="always:MODEL, or the file of a learner's snapshot.")],
    taste: Annotated[str, typer.Option(help="What a snapshot may pay where rows say no prices.")] = "ruvector-auto",
    clip: Annotated[float | None, typer.Option(min=1, help="The most that one row may weigh.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate what another policy would have earned on logged decisions: IPS, SNIPS and doubly robust."""
    from serve.cli import learn

    learn.evaluate(file, policy=policy, taste=taste, clip=clip, as_json=as_json)


Org = Annotated[str, typer.Option(help="Whose; else the organisation of the key. `default` is of keys that have none.")]


@learn_app.command("status")
def learning_status(org: Org = "", url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """Say what was learned of models, and from how much."""
    from serve.cli import steer

    steer.status(org=org, url=url, key=key, as_json=as_json)


@learn_app.command("export")
def export_learning(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.jsonl; with --patterns FILE.zip.")],
    *,
    patterns: Annotated[bool, typer.Option("--patterns", help="What was learned, for `import`: no prompts.")] = False,
    who: Annotated[str, typer.Option("--as", help="By what name others know it; else ORG@HOST.")] = "",
    org: Org = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Write every decision that is kept, with what came of it, as `evaluate` reads it; or what they taught."""
    from serve.cli import steer

    if patterns:
        steer.share(file, who=who, org=org, url=url, key=key, as_json=as_json)
        return
    steer.export(file, org=org, url=url, key=key, as_json=as_json)


@learn_app.command("import")
def import_learning(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `export --patterns` wrote elsewhere.")],
    org: Org = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Learn what another Raygate learned, worth no more than what was judged here; refused from another embedder."""
    from serve.cli import steer

    steer.take_in(file, org=org, url=url, key=key, as_json=as_json)


@learn_app.command("pause")
def pause(org: Org = "", url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """Learn nothing until it is resumed; what comes is kept, and decisions go by what is known."""
    from serve.cli import steer

    steer.steer("pause", org=org, url=url, key=key, as_json=as_json)


@learn_app.command("resume")
def resume(org: Org = "", url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """Learn what came during a pause, as if there had been none, and go on."""
    from serve.cli import steer

    steer.steer("resume", org=org, url=url, key=key, as_json=as_json)


@learn_app.command("snapshots")
def snapshots(org: Org = "", url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """List what one may go back to."""
    from serve.cli import steer

    steer.snapshots(org=org, url=url, key=key, as_json=as_json)


@learn_app.command("rollback")
def rollback(
    snapshot: Annotated[int | None, typer.Argument(help="Of `snapshots`; else the last one before now.")] = None,
    org: Org = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Go back to what was known then. What came after it teaches nothing any more; another rollback takes that back."""
    from serve.cli import steer

    steer.steer("rollback", org=org, url=url, key=key, as_json=as_json, snapshot=snapshot)


@learn_app.command("reset")
def reset(org: Org = "", url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """Begin with nothing. What was asked stays in log and memory: `forget` deletes it."""
    from serve.cli import steer

    steer.steer("reset", org=org, url=url, key=key, as_json=as_json)


@learn_app.command("forget")
def forget(
    request: Annotated[str, typer.Option(help="The x-request-id of an answer.")] = "",
    org: Org = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Delete a request's trace, or with --org alone all of an organisation's; the learner is taught anew without it."""
    from serve.cli import steer
    from serve.cli.errors import Ended

    if not (request or org):
        raise Ended("say what is to be forgotten: --request ID, or --org NAME for all of an organisation")
    steer.steer("forget", org=org, url=url, key=key, as_json=as_json, request=request)
