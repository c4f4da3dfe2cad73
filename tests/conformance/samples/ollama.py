from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        '{"model":"m","created_at":"2026-01-02T03:04:05.678901234Z","message":{"role":"assistant","content":"",'
        '"thinking":"hm"},"done":false}\n'
        '{"model":"m","created_at":"2026-01-02T03:04:05.7Z","message":{"role":"assistant","content":"héllo "},'
        '"done":false}\n'
        '{"model":"m","created_at":"2026-01-02T03:04:05.8Z","message":{"role":"assistant","content":"wörld"},'
        '"done":false}\n'
        '{"model":"m","created_at":"2026-01-02T03:04:05.9Z","message":{"role":"assistant","content":"","tool_calls":['
        '{"id":"a","function":{"index":0,"name":"f","arguments":{"x":1}}},'
        '{"function":{"index":0,"name":"f","arguments":{}}}]},"done":false}\n'
        '{"model":"m","created_at":"2026-01-02T03:04:06Z","message":{"role":"assistant","content":""},"done":true,'
        '"done_reason":"stop","total_duration":900,"prompt_eval_count":3,"eval_count":5}\n'
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"model":"m","created_at":"2026-01-02T03:04:06Z","message":{"role":"assistant","content":"héllo wörld"},'
        '"done":true,"done_reason":"stop","total_duration":900,"prompt_eval_count":3,"eval_count":5}'
    ).encode(),
)
