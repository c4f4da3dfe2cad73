from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        '"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
        "\n\n"
        'event: ping\ndata: {"type":"ping"}\n\n'
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}'
        "\n\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s=="}}\n\n'
        'data: {"type":"content_block_stop","index":0}\n\n'
        'data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}\r\n\r\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta",'
        '"text":"héllo "}}\n\n'
        'data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"wörld"}}\n\n'
        'data: {"type":"content_block_stop","index":1}\n\n'
        'data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"a","name":"f",'
        '"input":{},"caller":{"type":"direct"}}}\n\n'
        'data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}\n\n'
        'data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"x\\":"}}\n\n'
        'data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}\n\n'
        'data: {"type":"content_block_stop","index":2}\n\n'
        'data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"b","name":"f",'
        '"input":{}}}\n\n'
        'data: {"type":"content_block_stop","index":3}\n\n'
        'data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},'
        '"usage":{"output_tokens":9}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"héllo wörld"}],'
        '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":5}}'
    ).encode(),
)
