"""`raygate learn`: what learning is worth, on files alone. Nothing has to run, and nobody is asked.

replay PACK        the learner of production on recorded outcomes, one chosen model revealed at a time
evaluate FILE      what another policy would have earned on logged trajectories
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serve.cli import screen
from serve.cli.errors import Ended

if TYPE_CHECKING:
    from runtime.sona.evaluate import Evaluation, Policy
    from runtime.sona.trajectory import Trajectory

ALWAYS = "always:"


def seeds_of(said: str) -> tuple[int, ...]:
    """Seeds as people type them. Raises `Ended`.

    >>> seeds_of("0-2,7")
    (0, 1, 2, 7)
    """
    found: list[int] = []
    for part in said.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
            raise Ended(f"--seeds {said} names no seeds; write it as 0-4 or 0,1,2")
        found += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(found))


def replay(pack: Path, *, seeds: str, dataset: str, priors: bool, as_json: bool) -> None:
    """One line of means over the orders. Raises `Ended` where the file is no pack."""
    from runtime.sona.learner import LearnerConfig
    from runtime.sona.pack import BadPack
    from runtime.sona.replay import replay as play

    orders = seeds_of(seeds)
    with screen.waiting(f"reading {pack.name}") as say:
        try:
            how = LearnerConfig(priors=priors)
            found = play(pack, seeds=orders, config=how, dataset=dataset or None, tell=_told(say, len(orders)))
        except BadPack as wrong:
            raise Ended(str(wrong)) from None
    said = found.as_json()
    if as_json:
        screen.as_json({**said, "priors": priors})
        return
    names = [name for name in said if name != "seeds"]
    screen.console().print(screen.table(names, [[f"{said[name]:.3f}" for name in names]], right=names))
    print(f"\n{pack.name}: means over {len(orders)} orders of its prompts; gc_sd is over those orders.")


def _told(say: screen.Say, orders: int) -> Callable[[int], None]:
    return lambda done: say(f"order {min(done + 1, orders)} of {orders}")


def evaluate(file: Path, *, policy: str, taste: str, clip: float | None, as_json: bool) -> None:
    """Estimates with their errors. Raises `Ended` where the file or the policy cannot be read."""
    from runtime.sona.evaluate import evaluate as judge
    from runtime.sona.trajectory import BadTrajectories, read

    with screen.waiting(f"reading {file.name}") as say:
        try:
            rows = list(read(file))
        except BadTrajectories as wrong:
            raise Ended(str(wrong)) from None
        if not rows:
            raise Ended(f"{file} holds no trajectory")
        other = _policy(policy, rows, taste)
        say("estimating")
        found = judge(rows, other, clip=float("inf") if clip is None else clip)
    if as_json:
        screen.as_json({"policy": policy, **found.as_json()})
        return
    _draw(policy, found)


def _policy(said: str, rows: Sequence[Trajectory], taste: str) -> Policy:
    from runtime.memory.snapshot import MAGIC, Damaged
    from runtime.memory.snapshot import read as read_snapshot
    from runtime.sona.evaluate import Always, Learned, usual_prices
    from runtime.sona.presets import TASTES
    from runtime.sona.state import UnknownState, load

    if said.startswith(ALWAYS):
        model = said.removeprefix(ALWAYS)
        models = sorted({one for row in rows for one in row.candidates})
        if model not in models:
            raise Ended(
                f"--policy {said}: nobody could have chosen {model or 'no model'}; there are {', '.join(models)}"
            )
        return Always(model)
    if taste not in TASTES:
        raise Ended(f"--taste {taste} is none; there are {', '.join(TASTES)}")
    path = Path(said)
    try:
        with path.open("rb") as file:
            wrapped = file.read(len(MAGIC)) == MAGIC
        learner = load(read_snapshot(path) if wrapped else path.read_bytes())
    except OSError as error:
        raise Ended(f"--policy {said} cannot be read ({error.strerror}); name a snapshot, or {ALWAYS}MODEL") from None
    except (UnknownState, Damaged) as wrong:
        raise Ended(f"--policy {said}: {wrong}") from None
    return Learned(learner, usual_prices(rows, TASTES[taste]))


def _draw(policy: str, found: Evaluation) -> None:
    columns = ("", "rows", "as logged", "IPS", "SNIPS", "DR", "worth rows")
    lines: list[Sequence[str]] = []
    for name, one in found.measures.items():
        logged = _shown(one.logged, one.error)
        if one.estimates is None:
            lines.append((name, f"{one.rows:,}", logged, "–", "–", "–", "0"))
            continue
        three = [one.estimates.ips, one.estimates.snips, one.estimates.dr]
        shown = [_shown(each.value, each.error) for each in three]
        lines.append((name, f"{one.rows:,}", logged, *shown, f"{three[0].effective:,.0f}"))
    screen.console().print(screen.table(columns, lines, right=columns[1:]))
    print(f"\n{policy} on {found.rows:,} decisions, of which {found.judged:,} were judged; ± is one standard error.")
    if found.without:
        print(f"In {found.without:,} of them it has no choice to make: it knows none of the candidates, or no vector.")
    if any(one.estimates is None for one in found.measures.values()):
        print("–: the log never chose what this policy would, so nothing can be said.")


def _shown(value: float, error: float) -> str:
    """Enough digits to see the error.

    >>> _shown(0.73412, 0.0121), _shown(0.0000123, 0.0000004)
    ('0.734 ± 0.012', '1.23e-05 ± 4.0e-07')
    """
    if abs(value) >= 0.01 or value == 0.0:
        return f"{value:.3f} ± {error:.3f}"
    return f"{value:.3g} ± {error:.1e}"
