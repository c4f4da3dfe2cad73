"""Hooks and alerts, as settings name them: where the code is and what it is told, never the code itself.

hooks:
  - redact                                              the short form: a name alone
  - use: my_hooks:Shout                                 module:name of something that can be imported
    with: {louder: true}                                what its constructor is given
    on_failure: refuse                                  a guard
    timeout_s: 0.05
    routes: [fast]
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from runtime.settings.parts import STRICT, Count, Seconds
from runtime.settings.secrets import Secret

USE = re.compile(r"[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?")


class HookSettings(BaseModel):
    """One hook. `use` is a built-in's name, that of an entry point of the group `raygate.hooks`, or `module:name`.

    `with` is what it is made with. `on_failure`: `refuse` makes it a guard, whose failure refuses the request, `ignore`
    keeps its failures to itself; without, it is as the hook itself says. `timeout_s` is for each of its calls. `routes`
    are the names, as they are asked for, at which it is called (`*` and `?` match); empty for all.
    """

    model_config = ConfigDict(**STRICT, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    use: str
    # Never shown: people put tokens here.
    options: Annotated[dict[str, JsonValue], Field(alias="with", repr=False)] = {}
    on_failure: Literal["ignore", "refuse"] | None = None
    timeout_s: Seconds = 1.0
    routes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, said: Any) -> Any:
        """The short form is a name."""
        return {"use": said} if isinstance(said, str) else said

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> Any:
        return self.use if self == HookSettings(use=self.use) else whole(self)

    @model_validator(mode="after")
    def _named(self) -> HookSettings:
        if not USE.fullmatch(self.use):
            raise PydanticCustomError(
                "hook",
                "`use` should be the name of a built-in hook, or module:name, and not `{use}`",
                {"use": self.use},
            )
        return self


class _OrName:
    """So that the schema for editors knows the short form, too."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


Hook = Annotated[HookSettings, _OrName()]


class WebhookSettings(BaseModel):
    """Who is told by HTTP when a budget passes its warning, and when it is spent: once for each, in each period.

    With a `secret` the message is signed (`X-Raygate-Signature: t=SECONDS,v1=HMAC-SHA256 of "SECONDS.BODY"`).
    Addresses that are not public are refused unless `allow_private`. What fails is tried `attempts` times in all.
    """

    model_config = STRICT

    url: Secret
    secret: Secret | None = None
    scopes: tuple[Literal["key", "team", "org"], ...] = ("key", "team", "org")
    allow_private: bool = False
    timeout_s: Seconds = 10.0
    attempts: Count = 6


class AlertSettings(BaseModel):
    """What is told to people by itself."""

    model_config = STRICT

    webhooks: tuple[WebhookSettings, ...] = ()
