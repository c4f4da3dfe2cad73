"""What can be typed after `raygate cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from serve.cli.options import Json, Key, Url

cache_app = typer.Typer(rich_markup_mode=None, help="Look after remembered answers.")


@cache_app.command("stats")
def stats(url: Url = "", key: Key = "", as_json: Json = False) -> None:
    """Show what each process remembers, and what that saved."""
    from serve.cli import cache

    cache.stats(url=url, key=key, as_json=as_json)


@cache_app.command("clear")
def clear(  # noqa: PLR0917  # typer calls it by name
    tag: Annotated[str, typer.Option(help="Of answers whose request had this tag.")] = "",
    model: Annotated[
        str, typer.Option(help="A model, provider/model (with * and ?), or the name that was asked.")
    ] = "",
    tenant: Annotated[str, typer.Option(help="Whose.")] = "",
    answer: Annotated[str, typer.Option(help="The x-raygate-cache-key of one answer, or its beginning.")] = "",
    url: Url = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Forget, in every process and in the shared tier, what fits all that is said; all answers if nothing is."""
    from serve.cli import cache

    cache.clear(tag=tag, model=model, tenant=tenant, answer=answer, url=url, key=key, as_json=as_json)
