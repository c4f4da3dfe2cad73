"""A notebook's process that asks without pause, until it is killed.

    python -m tests.chaos.money_notebook ROUTE CALLERS

Its requests are called `ROUTE-notebook-0` and so on; a half of them streams.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from itertools import count

import ray

import actors
from runtime.request import Sampling, ask


def main(route: str, callers: int) -> None:
    manager = actors.connect()
    numbers = count()

    def call(stream: bool) -> None:
        while True:
            name = f"{route}-notebook-{next(numbers)}"
            request = replace(
                ask(f"{name} tell me", model=route), request_id=name, sampling=Sampling(max_tokens=60), stream=stream
            )
            if stream:
                for event in manager.stream.options(num_returns="streaming").remote(request):
                    ray.get(event)
            else:
                ray.get(manager.complete.remote(request))

    threads = [threading.Thread(target=call, args=(index % 2 == 1,), daemon=True) for index in range(callers)]
    for thread in threads:
        thread.start()
    sys.stdout.write("under way\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
