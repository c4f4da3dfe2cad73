"""The whole from its pieces, and the pieces of a whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.fold import Fold, deltas_of, fold
from runtime.outcome import Choice, Delta, FinishReason, ToolCallDelta
from runtime.request import (
    AudioPart,
    CacheHint,
    FilePart,
    ImagePart,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCall,
)

words = st.text(max_size=6)
extras = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(), max_size=2)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(
        TextPart,
        words,
        signature=words,
        citations=st.lists(st.integers(), max_size=2).map(tuple),
        extra=extras,
        cache=st.sampled_from([None, CacheHint()]),
    ),
    st.builds(ReasoningPart, text=words, signature=words, redacted=words, extra=extras),
    st.builds(ToolCall, id=words, name=words, arguments=words, signature=words, extra=extras),
    st.builds(ImagePart, data=words),
    st.builds(AudioPart, url=words),
    st.builds(FilePart, url=words),
    st.builds(NativePart, dialect=words, kind=words, value=extras),
)
choices = st.builds(
    Choice,
    parts=st.lists(parts, max_size=5).map(tuple),
    finish_reason=st.sampled_from([None, *FinishReason]),
    refusal=st.none() | st.text(min_size=1, max_size=3),
    extra=extras,
)


@given(choice=choices, index=st.integers(0, 3))
def test_the_pieces_of_a_whole_make_it_again(choice: Choice, index: int) -> None:
    assert fold(deltas_of(index, choice)) == (choice,)


def test_text_and_thought_go_on_until_something_else_is_said() -> None:
    (choice,) = fold(
        [
            Delta(reasoning="let me "),
            Delta(reasoning="see", signature="s1g"),
            Delta(reasoning="once more"),
            Delta(text="hel"),
            Delta(text="lo", citations=({"url": "u"},)),
            Delta(citations=({"url": "v"},)),
            Delta(text="more", new_part=True),
        ]
    )
    assert choice.parts == (
        ReasoningPart(text="let me see", signature="s1g"),
        ReasoningPart(text="once more"),
        TextPart("hello", citations=({"url": "u"}, {"url": "v"})),
        TextPart("more"),
    )


def test_a_thought_that_is_not_shown_still_has_its_signature() -> None:
    (choice,) = fold([Delta(text="a"), Delta(new_part=True, signature="s1g"), Delta(text="b")])
    assert choice.parts == (TextPart("a"), ReasoningPart(signature="s1g"), TextPart("b"))


def test_pieces_of_parallel_calls_find_their_call() -> None:
    def piece(position: int, **fields: str) -> Delta:
        return Delta(tool_calls=(ToolCallDelta(position=position, **fields),))

    (choice,) = fold(
        [
            piece(0, id="a", name="f", arguments='{"x"'),
            piece(1, id="b", name="f"),
            piece(0, arguments=":1}"),
            piece(1, arguments="{}", signature="s1g"),
        ]
    )
    assert choice.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="f", arguments="{}", signature="s1g"),
    )


def test_pieces_of_sound_are_one_sound() -> None:
    (choice,) = fold(
        [
            Delta(audio=AudioPart(data="aGk=", extra={"id": "a1", "transcript": "hel"})),
            Delta(audio=AudioPart(data="IQ==", extra={"id": "a1", "transcript": "lo"})),
        ]
    )
    assert choice.parts == (AudioPart(data="aGkh", extra={"id": "a1", "transcript": "hello"}),)


def test_a_choice_without_a_word_exists_and_is_not_finished() -> None:
    whole = Fold()
    assert whole.empty
    whole.open(0)
    assert (whole.empty, whole.finished, whole.choices()) == (False, False, (Choice(),))
    whole.add(Delta(finish_reason=FinishReason.STOP))
    assert whole.finished


def test_deltas_handed_out_never_change() -> None:
    first = Delta(extra={"list": [1], "word": "a"}, part_extra={"list": [1]}, text="x")
    (choice,) = fold([first, Delta(extra={"list": [2], "word": "b"}, part_extra={"list": [2]})])
    assert choice.extra == {"list": [1, 2], "word": "ab"}
    assert choice.parts == (TextPart("x", extra={"list": [1, 2]}),)
    assert (first.extra, first.part_extra) == ({"list": [1], "word": "a"}, {"list": [1]})
