from datetime import UTC, datetime
from typing import cast

import pytest

from aicmo_dagster.stages.nurturing.letters import Letter, Letters
from aicmo_dagster.stages.nurturing.signers import TOGETHER, signers


class Marking:
    """Signs by a mark, if it has one."""

    def __init__(self, mark: bytes) -> None:
        self.mark, self.are_signed = mark, bool(mark)

    def signed(self, letter: Letter) -> Letter:
        content = self.mark + letter.content
        return Letter(letter.sender, content, letter.targets, letter.date)


@pytest.mark.parametrize("mark", [b"", b"signed "])
def test_letters_come_back_in_their_order_and_signed_if_there_is_a_key(mark: bytes) -> None:
    date = datetime(2026, 3, 4, tzinfo=UTC)
    count = 3 * TOGETHER + 1
    drafts = [Letter("ida@acme.example", b"%d" % number, {}, date) for number in range(count)]
    with signers(cast(Letters, Marking(mark))) as sign:
        first, second = sign(drafts), sign(drafts[:1])
        contents = [ready().content for ready in (*second, *first)]
    assert contents == [mark + b"%d" % number for number in (0, *range(count))]
