"""Raygate on Ray: actors, their lifetimes, and the clock.

import actors
manager = actors.connect()
ray.get(manager.complete.remote({"messages": [{"role": "user", "content": "hello"}]}))
"""

from actors.connection import connect

__all__ = ["connect"]
