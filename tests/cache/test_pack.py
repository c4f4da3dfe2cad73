"""An answer as bytes, and back, whatever lies there."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.cache import About
from runtime.cache.pack import Unreadable, about_of, pack, unpack
from runtime.outcome import Choice, Completion, Cost, FinishReason, Usage
from runtime.request import AudioPart, ImagePart, ReasoningPart, TextPart, ToolCall

words = st.text(max_size=5) | st.sampled_from(["$", "", "stop"])
jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(words, jsons, max_size=2)
parts = st.one_of(
    st.builds(TextPart, text=words, citations=st.lists(jsons, max_size=2).map(tuple), extra=objects),
    st.builds(ReasoningPart, text=words, signature=words),
    st.builds(ToolCall, id=words, name=words, arguments=words, extra=objects),
    st.builds(ImagePart, url=words),
    st.builds(AudioPart, data=words, format=words),
)
answers = st.builds(
    Completion,
    id=words,
    model=words,
    provider=words,
    choices=st.lists(
        st.builds(
            Choice,
            parts=st.lists(parts, max_size=3).map(tuple),
            finish_reason=st.none() | st.sampled_from(FinishReason),
            refusal=st.none() | words,
            logprobs=jsons,
            extra=objects,
        ),
        max_size=2,
    ).map(tuple),
    usage=st.builds(Usage, input_tokens=st.integers(0, 9), server_tool_calls=st.dictionaries(words, st.integers(0, 2))),
    cost=st.none() | st.builds(Cost, total_nanousd=st.integers(0, 9)),
    dropped=st.lists(words, max_size=2).map(tuple),
    extra=objects,
)


@settings(max_examples=200)
@given(answers)
def test_an_answer_comes_back_as_it_was(answer: Completion) -> None:
    about = About(tenant="t", tags=("a", "b"), model="m")
    packed = pack(answer, about=about)
    assert unpack(packed) == (about, answer)
    assert about_of(packed) == about
    kinds = [type(choice.finish_reason) for choice in unpack(packed)[1].choices]
    assert kinds == [type(choice.finish_reason) for choice in answer.choices]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[2,null,{}]",
        b"[1,null,7]",
        b'[1,null,{"$":"os.system","v":1}]',
        b'[1,null,{"$":"Request","messages":[]}]',
        b'[1,null,{"$":"Completion"}]',
        b'[1,null,{"$":"Completion","id":"1","model":"m","choices":{"$":"","v":7}}]',
        b'[1,null,{"$":"b","v":"!"}]',
        b"\x80\x04\x95",
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(data: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(data)


def test_a_field_of_a_later_version_is_left_out() -> None:
    answer = Completion(id="1", model="m")
    form, about, said = orjson.loads(pack(answer))
    assert unpack(orjson.dumps([form, about, {**said, "later": 1}]))[1] == answer
