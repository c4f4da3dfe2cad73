"""A notebook's process: calls through `actors.connect()`, plain and streamed, that it never sees the end of.

    python -m tests.chaos.notebook PROVIDER COUNT

A third of the calls is plain, a third streams, a third streams from a model that has fallen silent.
"""

from __future__ import annotations

import sys

import ray

import actors


def main(provider: str, count: int) -> None:
    manager = actors.connect()
    plain, streams = [], []
    for index in range(count):
        name = f"{('plain', 'stream', 'quiet')[index % 3]}-notebook-{index}"
        request = {"model": f"{provider}/{name}", "messages": [{"role": "user", "content": "hello"}]}
        if name.startswith("plain"):
            plain.append(manager.complete.remote(request))
        else:
            streams.append(manager.stream.options(num_returns="streaming").remote(request))
    for stream in streams:
        ray.get(next(stream))
    sys.stdout.write("under way\n")
    sys.stdout.flush()
    for stream in streams:
        for event in stream:
            ray.get(event)
    ray.get(plain)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
