from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        ": a comment\n\n"
        'data: {"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":'
        '{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"héllo "},"finish_reason":null}],'
        '"obfuscation":"xx"}\n\n'
        'data: {"id":"c1","choices":[{"index":1,"delta":{"content":"other"},"finish_reason":null}]}\r\n\r\n'
        'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"wörld","reasoning":"hm"}}]}\n\n'
        'data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function",'
        '"function":{"name":"f","arguments":""}},{"index":1,"id":"b","function":{"name":"f","arguments":"{}"}}]}}]}\n\n'
        'data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":'
        '{"arguments":"{\\"x\\":1}"}}]}}]}\n\n'
        'data: {"id":"c1","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}\n\n'
        'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n'
        'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n'
        "data: [DONE]\n\n"
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"id":"c1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":'
        '"assistant","content":"héllo wörld"},"finish_reason":"stop"}],'
        '"usage":{"prompt_tokens":3,"completion_tokens":5}}'
    ).encode(),
)
