"""`scripted`: a provider that plays a script instead of asking a model. It ships with the product.

`Script` and `Step` say what it plays, `parse_script` reads them from settings, `Scripted` is the dialect;
`runtime.transport.scripted.ScriptedTransport` is the other end of the wire.
"""

from runtime.dialects.scripted.dialect import Scripted, ScriptedStream
from runtime.dialects.scripted.parse import BadScript, parse_script
from runtime.dialects.scripted.script import (
    DEFAULT_TEXT,
    ErrorEvent,
    Hang,
    Malformed,
    Refuse,
    Reset,
    Script,
    Stall,
    Status,
    Step,
    Trouble,
    Truncate,
)

__all__ = [
    "DEFAULT_TEXT",
    "BadScript",
    "ErrorEvent",
    "Hang",
    "Malformed",
    "Refuse",
    "Reset",
    "Script",
    "Scripted",
    "ScriptedStream",
    "Stall",
    "Status",
    "Step",
    "Trouble",
    "Truncate",
    "parse_script",
]
