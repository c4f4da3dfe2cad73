"""Books in memory: what was written, in order, and whether it paired up."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.ledger.rows import Flag, Intent, Row, Settlement


@dataclass
class FakeBooks:
    """`refuses` is the sentence with which `open` refuses; `unacknowledged` the one that `acknowledged` answers."""

    waits: bool = False
    refuses: str = ""
    unacknowledged: str = ""
    intents: dict[str, Intent] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    entered: list[Row] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def new_attempt(self) -> str:
        return f"fake-{len(self.intents) + len(self.entered) + 1}"

    def open(self, intent: Intent) -> str:
        if not self.refuses:
            assert intent.attempt not in self.intents, "a name is given once"
            self.intents[intent.attempt] = intent
        return self.refuses

    def settle(self, settlement: Settlement) -> None:
        assert settlement.attempt in self.intents, "nothing is settled that was not intended"
        assert all(one.attempt != settlement.attempt for one in self.settlements), "once is enough"
        self.settlements.append(settlement)

    def enter(self, row: Row) -> None:
        self.entered.append(row)

    async def acknowledged(self, attempt: str) -> str:
        self.asked.append(attempt)
        return self.unacknowledged

    @property
    def under_way(self) -> int:
        return len(self.intents) - len(self.settlements)

    @property
    def rows(self) -> list[Row]:
        """Of all that was sent."""
        settled = [Row(intent=self.intents[one.attempt], settlement=one) for one in self.settlements if not one.unsent]
        return settled + self.entered

    @property
    def row(self) -> Row:
        """The only one."""
        (one,) = self.rows
        return one

    def flags(self) -> list[Flag]:
        return [one.flags for one in self.rows]
