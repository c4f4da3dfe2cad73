"""Network I/O: the protocol (`base`), the fast default (`aiohttp_transport`), the httpx-shaped second."""
