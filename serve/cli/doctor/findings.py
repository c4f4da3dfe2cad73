"""What was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    GOOD = "good"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """`says` is how it is; `do` what to do about it, empty where nothing need be done."""

    about: str
    mark: Mark
    says: str
    do: str = ""

    def plain(self) -> dict[str, str]:
        return {"about": self.about, "mark": self.mark.value, "says": self.says, "do": self.do}
