from __future__ import annotations

from tests.conformance.sample import Sample

REPLY = ('{"text":"héllo wörld","model_used":"Large","context_size":2048,"confidence":0.75,"latency_ms":12.5}').encode()

# The server has no streams: what comes for one is a whole reply, in pieces.
SAMPLE = Sample(stream=REPLY, text="héllo wörld", reply=REPLY)
