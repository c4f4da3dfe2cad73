"""Network I/O: the protocol (`base`), the fast default (`http1`), the httpx-shaped second."""
