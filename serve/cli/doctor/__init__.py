"""`raygate doctor`: what is wrong with this machine, these settings and these keys, and what to do about it.

    machine     Python, packages, compiled parts, open files, memory, shared memory
    setup       the settings, who could get in, the state folder, the port, what runs
    upstreams   each provider: is there a key, can it be reached, is the key good; by calls that cost nothing

Nothing is changed. What is compiled is tried in a process of its own, for a wheel that was built for another CPU ends
the process that loads it.
"""

from __future__ import annotations

from pathlib import Path

from actors.environment import environment, state_folder
from serve.cli import screen
from serve.cli.doctor.findings import Finding, Mark
from serve.cli.errors import FAILED, Ended

SIGNS = {Mark.GOOD: ("✓", "\033[32m"), Mark.NOTE: ("•", "\033[33m"), Mark.WRONG: ("✗", "\033[1;31m")}


def doctor(config: Path | None, *, offline: bool, as_json: bool) -> None:
    """Look at everything and say it. Raises `Ended` with code 1 where something is wrong. `offline` asks nobody."""
    from serve.cli.doctor import machine, setup, upstreams

    env = environment()
    folder = state_folder(env)
    with screen.waiting("looking at this machine") as say:
        found = [*machine.look(folder)]
        say("reading the settings")
        settings, more = setup.settings(config, env)
        found += [*more, *setup.folder(folder), *setup.running(folder, settings)]
        if settings is not None:
            found += machine.compiled(local=settings.local.enabled)
            if not offline:
                say("asking the providers")
                found += upstreams.look(settings, env)
    wrong = [one for one in found if one.mark is Mark.WRONG]
    if as_json:
        screen.as_json({"ok": not wrong, "findings": [one.plain() for one in found]})
    else:
        _draw(found)
    if wrong:
        raise Ended(f"{len(wrong)} of {len(found)} things need you: {', '.join(one.about for one in wrong)}", FAILED)


def _draw(found: list[Finding]) -> None:
    import sys

    colours = sys.stdout.isatty()
    width = max(len(one.about) for one in found)
    for one in found:
        sign, colour = SIGNS[one.mark]
        before, after = (colour, "\033[0m") if colours else ("", "")
        print(f"{before}{sign}{after} {one.about:<{width}}  {screen.harmless(one.says)}")
        if one.do:
            print(f"  {'':<{width}}  → {screen.harmless(one.do)}")
