from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        'data: {"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"},"index":0}],'
        '"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3},"modelVersion":"m","responseId":"r1"}\r\n\r\n'
        'data: {"candidates":[{"content":{"parts":[{"text":"héllo "}],"role":"model"},"index":0}]}\r\n\r\n'
        'data: {"candidates":[{"content":{"parts":[{"text":"other"}],"role":"model"},"index":1}]}\r\n\r\n'
        'data: {"candidates":[{"content":{"parts":[{"text":"wörld"}],"role":"model"},"index":0}]}\r\n\r\n'
        'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":"}\\"{"}},'
        '"thoughtSignature":"c2ln"},{"functionCall":{"id":"b","name":"f","args":{}}}],"role":"model"},"index":0}]}'
        "\r\n\r\n"
        'data: {"candidates":[{"finishReason":"MAX_TOKENS","index":1}]}\r\n\r\n'
        'data: {"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2lnMg=="}],"role":"model"},'
        '"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,'
        '"thoughtsTokenCount":1,"totalTokenCount":8},"modelVersion":"m","responseId":"r1"}\r\n\r\n'
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"candidates":[{"content":{"parts":[{"text":"héllo wörld"}],"role":"model"},"finishReason":"STOP"}],'
        '"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8},'
        '"modelVersion":"m","responseId":"r1"}'
    ).encode(),
)
