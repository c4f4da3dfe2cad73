"""Code that others put around requests. `payloads` is all that the author of a hook needs; `docs/hooks.md` shows how.

payloads    what hooks are told and may return
mounted     one hook: in time, counted, its failures kept to itself
chain       all of them around one request
build       from settings to hooks
cost, optimise, metrics, redact, guardrail, record      the built-in ones
"""

from runtime.hooks.payloads import After, Attempted, Before, Embedding, Failed, Streamed, refuse

__all__ = ["After", "Attempted", "Before", "Embedding", "Failed", "Streamed", "refuse"]
