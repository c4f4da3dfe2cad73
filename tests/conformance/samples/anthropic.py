from __future__ import annotations

from tests.conformance.sample import Sample

START = (
    '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
    '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
)
END = '{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}'


def opened(index: int, block: str) -> str:
    return f'data: {{"type":"content_block_start","index":{index},"content_block":{block}}}\n\n'


def delta(index: int, change: str) -> str:
    return f'data: {{"type":"content_block_delta","index":{index},"delta":{change}}}\n\n'


def closed(index: int) -> str:
    return f'data: {{"type":"content_block_stop","index":{index}}}\r\n\r\n'


SAMPLE = Sample(
    stream="".join(
        (
            f'event: message_start\ndata: {START}\n\nevent: ping\ndata: {{"type":"ping"}}\n\n',
            opened(0, '{"type":"thinking","thinking":"","signature":""}'),
            delta(0, '{"type":"thinking_delta","thinking":"hm"}'),
            delta(0, '{"type":"signature_delta","signature":"s=="}'),
            closed(0),
            "event: content_block_start\n",
            opened(1, '{"type":"text","text":""}'),
            delta(1, '{"type":"text_delta","text":"héllo "}'),
            delta(1, '{"type":"text_delta","text":"wörld"}'),
            closed(1),
            opened(2, '{"type":"tool_use","id":"a","name":"f","input":{},"caller":{"type":"direct"}}'),
            delta(2, '{"type":"input_json_delta","partial_json":""}'),
            delta(2, '{"type":"input_json_delta","partial_json":"{\\"x\\":"}'),
            delta(2, '{"type":"input_json_delta","partial_json":"1}"}'),
            closed(2),
            opened(3, '{"type":"tool_use","id":"b","name":"f","input":{}}'),
            closed(3),
            f'data: {END}\n\nevent: message_stop\ndata: {{"type":"message_stop"}}\n\n',
        )
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text",'
        '"text":"héllo wörld"}],"stop_reason":"end_turn","stop_sequence":null,'
        '"usage":{"input_tokens":3,"output_tokens":5}}'
    ).encode(),
)
