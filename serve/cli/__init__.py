"""`raygate`: the command line.

    commands    what can be typed; everything heavy is imported inside a command, so that --help costs little
    lifecycle   up, down
    status      what runs, and what listens where
    top         providers, attempts and spend, live
    doctor      what is wrong here, and what to do
    ledger      how the ledger is, as status shows it
    accounts    keys and budgets; over HTTP, as an admin
    spend       what was spent, and all of it as a file
    learn       what learning is worth, on files alone
    events      what happens, as it happens
    chat        one question over HTTP, streamed
    replay      a file of requests, and what they cost, took and were worth
    models      what can be asked for
    config      is this settings file right?
    place       where the Raygate of this machine is, and how to call it
    screen      spinners, tables, JSON
    errors      the one line that ends a command

Standard output holds what was asked for (with --json nothing else), standard error what a person reads besides.
Exit codes: 0; 1 something else failed; 2 the input was wrong, or there is nobody to talk to; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. `args` None: those of this process."""
    try:
        from serve.cli import commands

        return commands.run(args)
    except KeyboardInterrupt:
        return 130
