import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.api.paging import decode_cursor, encode_cursor
from aicmo_dagster.api.problems import Refusal


@settings(max_examples=30)
@given(st.text(max_size=20).filter(str.isprintable), st.integers(-(2**40), 2**40))
def test_a_cursor_names_its_place(text: str, number: int) -> None:
    assert decode_cursor("list", encode_cursor("list", text, number), str, int) == [text, number]


@settings(max_examples=30)
@given(st.text(max_size=60) | st.binary(max_size=30).map(lambda b: base64.b64encode(b).decode()))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode_cursor("list", text, str)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor("other", "a"),
        encode_cursor("list", 1),
        encode_cursor("list", None),
        encode_cursor("list"),
        encode_cursor("list", "a", "b"),
        base64.urlsafe_b64encode(b"[" * 700).decode(),
        base64.urlsafe_b64encode(b"3").decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
    ],
)
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal):
        decode_cursor("list", cursor, str)


def test_the_first_page_has_no_cursor() -> None:
    assert decode_cursor("list", None, str) is None
