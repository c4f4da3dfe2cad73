"""Posts a message to an address that people have written into settings: once, without redirects, to public hosts.

What a name resolves to is looked at, and just that is connected to, so a name cannot be public for the check and
private for the call. Proxies of the environment are not used: they would resolve the name themselves.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_WRAPPING = (
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2002::/16"),
    IPv6Network("2001::/32"),
)
"""Networks whose addresses stand for an IPv4 address (NAT64, 6to4, Teredo), which may be private."""

READ = 65_536


class NotPublic(OSError):
    """The address is not one of the public Internet."""


def is_public(said: str) -> bool:
    """Whether this address is on the public Internet.

    >>> [is_public(one) for one in ("8.8.8.8", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00::1")]
    [True, False, False, False, False]
    """
    address: IPv4Address | IPv6Address = ip_address(said.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in network for network in _WRAPPING):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class _PublicResolver(AbstractResolver):
    """Refuses a name that leads anywhere private."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise NotPublic(f"{host} is not a public address")
        return found

    async def close(self) -> None:
        await self._inner.close()


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, allow_private: bool = False
) -> str:
    """Empty once it was taken (2xx); else why not, without the address, which may hold a secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "its `url` is not an address"
    if parts.scheme not in ("http", "https") or not host:
        return "its `url` should begin with https:// or http:// and a host"
    if not allow_private and _is_literal(host) and not is_public(host):
        return "its address is private; `allow_private: true` allows that"
    connector: Any = aiohttp.TCPConnector(resolver=ThreadedResolver() if allow_private else _PublicResolver())
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=False
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as reply,
        ):
            await reply.content.read(READ)
            return "" if 200 <= reply.status < 300 else f"it answered {reply.status}"
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, NotPublic):
            return "its address is private; `allow_private: true` allows that"
        return f"it cannot be reached ({type(error.os_error).__name__})"
    except NotPublic:
        return "its address is private; `allow_private: true` allows that"
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return f"it cannot be reached ({type(error).__name__})"


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
