"""Who calls, and whether he may.

key ─► SHA-256 ─► the snapshot's own keys (bootstrap: an admin, no limits)
               └► the ledger's pass, which the edge remembers ─► its networks, its expiry
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.clock import SENSES
from actors.edge import Edge
from runtime.ledger.accounts import Pass, allowed, sha256_of
from runtime.ledger.rows import NOBODY, Account, Billing
from runtime.outcome import Failure, FailureKind
from runtime.values import maker, quick
from serve.errors import Refused
from serve.http import Exchange

new_account = maker(Account)

new_billing = maker(Billing)

PEER = b"x-raygate-peer"
"""Where our HAProxy writes who called it."""


@quick
@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `tenant`: nothing remembered is shared between tenants, and they take turns.

    Without a `pass_` nothing limits him: the key that `raygate up` made, or a Raygate that asks for none.
    """

    account: Account = NOBODY
    tenant: str = ""
    admin: bool = False
    pass_: Pass | None = None

    @property
    def billing(self) -> Billing:
        """Who pays, for whoever writes an attempt down."""
        return new_billing(account=self.account, models=self.pass_.models if self.pass_ is not None else ())


new_caller = maker(Caller)


ANYBODY = Caller()
"""Where no key is asked for. No admin: a page in a browser of this machine can call as well."""


async def caller_of(exchange: Exchange, edge: Edge) -> Caller:
    """Who shows the key of this request. Raises `Refused`."""
    key = presented(exchange)
    sha256 = sha256_of(key)
    # Looking up a hash tells an attacker nothing by its timing about any stored one.
    if (known := edge.keys.get(sha256)) is not None:
        return new_caller(new_account(key=known.name), known.tenant, known.admin)
    if not edge.settings.auth:
        return ANYBODY
    if not key:
        raise _refused("no key was sent")
    found = await edge.passes.of(sha256)
    if isinstance(found, Pass):
        found_out = allowed(found, now=SENSES.wall(), ip=_address(exchange, edge))
        if found_out is None:
            account = found.account
            return new_caller(account, account.team or account.key, found.admin, found)
        found = found_out
    if found.kind is FailureKind.BAD_KEY and found.code is None:
        raise _refused("it is not known here")
    raise _told(found)


def may_ask(caller: Caller, name: str) -> Failure | None:
    """Why this caller may not ask for this name; None if he may."""
    if caller.pass_ is None or not caller.pass_.routes:
        return None
    return allowed(caller.pass_, now=SENSES.wall(), route=name)


def presented(exchange: Exchange) -> str:
    """The caller's key, as OpenAI's (`Authorization: Bearer`) or Anthropic's (`x-api-key`) SDKs send it; or ""."""
    scheme, _, key = exchange.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return exchange.header(b"x-api-key").strip()


def _address(exchange: Exchange, edge: Edge) -> str:
    """Who called: the proxy's word for it, where it is our own proxy that calls us."""
    return (exchange.header(PEER) if edge.behind_proxy else "") or exchange.peer


def _refused(why: str) -> Refused:
    # OpenAI's own words come first: clients such as LiteLLM tell this error by them.
    said = why if why == "no key was sent" else f"Incorrect API key provided: {why}"
    detail = f"{said}; send a Raygate key as 'Authorization: Bearer rg-...' (raygate status says where it lies)"
    return Refused(FailureKind.BAD_KEY, detail, code="invalid_api_key")


def _told(failure: Failure) -> Refused:
    refused = Refused(failure.kind, failure.detail)
    refused.failure = failure
    return refused
