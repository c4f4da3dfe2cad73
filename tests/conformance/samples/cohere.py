from __future__ import annotations

from tests.conformance.sample import Sample

SAMPLE = Sample(
    stream=(
        'event: message-start\ndata: {"id":"m1","type":"message-start","delta":{"message":{"role":"assistant",'
        '"content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}\n\n'
        'event: content-start\ndata: {"type":"content-start","index":0,"delta":{"message":{"content":'
        '{"type":"thinking","thinking":""}}}}\n\n'
        'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"content":'
        '{"thinking":"hm"}}}}\n\n'
        'event: content-end\ndata: {"type":"content-end","index":0}\n\n'
        'event: content-start\ndata: {"type":"content-start","index":1,"delta":{"message":{"content":'
        '{"type":"text","text":""}}}}\n\n'
        'event: content-delta\ndata: {"type":"content-delta","index":1,"delta":{"message":{"content":'
        '{"text":"héllo "}}}}\n\n'
        'event: content-delta\r\ndata: {"type":"content-delta","index":1,"delta":{"message":{"content":'
        '{"text":"wörld"}}}}\r\n\r\n'
        'event: citation-start\ndata: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":6,'
        '"end":11,"text":"wörld","sources":[{"type":"document","id":"d1","document":{"id":"d1","text":"w"}}],'
        '"content_index":1,"type":"TEXT_CONTENT"}}}}\n\n'
        'event: citation-end\ndata: {"type":"citation-end","index":0}\n\n'
        'event: content-end\ndata: {"type":"content-end","index":1}\n\n'
        'event: tool-plan-delta\ndata: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}\n\n'
        'event: tool-plan-delta\ndata: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":" ask."}}}\n\n'
        'event: tool-call-start\ndata: {"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":'
        '{"id":"f_a","type":"function","function":{"name":"f","arguments":""}}}}}\n\n'
        'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":'
        '{"function":{"arguments":"{\\"x\\":"}}}}}\n\n'
        'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":'
        '{"function":{"arguments":"1}"}}}}}\n\n'
        'event: tool-call-end\ndata: {"type":"tool-call-end","index":0}\n\n'
        'event: tool-call-start\ndata: {"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":'
        '{"id":"f_b","type":"function","function":{"name":"f","arguments":"{}"}}}}}\n\n'
        'event: tool-call-end\ndata: {"type":"tool-call-end","index":1}\n\n'
        'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":'
        '{"billed_units":{"input_tokens":3,"output_tokens":5},"tokens":{"input_tokens":9,"output_tokens":7}}}}\n\n'
        "data: [DONE]\n\n"
    ).encode(),
    text="héllo wörld",
    reply=(
        '{"id":"m1","message":{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},'
        '{"type":"text","text":"héllo wörld"}],"citations":[{"start":6,"end":11,"text":"wörld","content_index":1,'
        '"type":"TEXT_CONTENT"}]},"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":3,'
        '"output_tokens":5},"tokens":{"input_tokens":9,"output_tokens":7}}}'
    ).encode(),
)
