from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        ": OPENROUTER PROCESSING\n\n"
        'data: {"id":"g1","provider":"Somebody","object":"chat.completion.chunk","created":7,"model":"a/m","choices":'
        '[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"hm ","reasoning_details":'
        '[{"type":"reasoning.text","text":"hm ","format":"f1","index":0}]},"finish_reason":null}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"content":"","reasoning":"so","reasoning_details":'
        '[{"type":"reasoning.text","text":"so","format":"f1","index":0},'
        '{"type":"reasoning.text","signature":"s1g","format":"f1","index":0}]}}]}\n\n'
        ": OPENROUTER PROCESSING\n\n"
        'data: {"id":"g1","choices":[{"index":0,"delta":{"content":"héllo "}}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"content":"wörld"}}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function",'
        '"function":{"name":"f","arguments":"{}"}},{"index":1,"id":"b","type":"function",'
        '"function":{"name":"f","arguments":"{\\"x\\":"}}]}}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":'
        '{"arguments":"1}"}}]}}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"tool_calls",'
        '"native_finish_reason":"tool_use"}]}\n\n'
        'data: {"id":"g1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"tool_calls"}],'
        '"usage":{"prompt_tokens":3,"completion_tokens":5,"cost":0.000012}}\n\n'
        "data: [DONE]\n\n"
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"id":"g1","provider":"Somebody","object":"chat.completion","created":7,"model":"a/m","choices":[{"index":0,'
        '"message":{"role":"assistant","content":"héllo wörld","reasoning":"hm"},"finish_reason":"stop"}],'
        '"usage":{"prompt_tokens":3,"completion_tokens":5,"cost":0.000012}}'
    ).encode(),
)
