from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        '{"id":"s1","model":"m"}\n{"delta":{"reasoning":"hm"}}\n{"delta":{"text":"héllo "}}\n'
        '{"delta":{"choice":1,"text":"other"}}\n{"delta":{"text":"wörld"}}\n'
        '{"delta":{"tool_calls":[{"position":0,"id":"a","name":"f","arguments":"{}"}]}}\n'
        '{"delta":{"finish_reason":"tool_calls"}}\n{"delta":{"choice":1,"finish_reason":"stop"}}\n'
        '{"usage":{"input_tokens":3,"output_tokens":5}}\n{"end":true}\n'
    ).encode(),
    text="héllo wörld",
    reply='{"id":"s1","model":"m","choices":[{"text":"héllo wörld","finish_reason":"stop"}],"usage":{}}'.encode(),
)
