"""Looking after an actor, again and again, leaves nothing behind."""

from __future__ import annotations

from actors.supervisor import _remote


class Small:
    CONTROL_METHODS = ("ask",)

    async def ask(self) -> None: ...


def test_rays_class_of_an_actor_is_made_once_however_often_it_is_looked_after() -> None:
    assert _remote(Small) is _remote(Small)
