"""Letters signed in threads, while those before them are sent.

Not here: the signature itself (`mail.signing`), or what becomes of a letter (`dispatch`).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from aicmo_dagster.stages.nurturing.letters import Letter, Letters

Ready = Callable[[], Letter]
"""Gives the letter as soon as it can be sent."""

TOGETHER = 4
"""Letters that a thread signs before it looks for more: to ask it for each takes as long as most
of the work on a letter, but those that wait for the last of many could have left."""


@contextmanager
def signers(letters: Letters) -> Iterator[Callable[[Sequence[Letter]], list[Ready]]]:
    """A function that begins to sign letters, in their order; without a key they are ready.

    An RSA signature takes longer than all else of a mail. It is made outside of Python, and so on
    as many processors as there are.
    """
    if not letters.are_signed:
        yield lambda drafts: [partial(_itself, draft) for draft in drafts]
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield partial(_begun, letters, pool)


def _begun(letters: Letters, pool: Executor, drafts: Sequence[Letter]) -> list[Ready]:
    ready: list[Ready] = []
    for start in range(0, len(drafts), TOGETHER):
        part = drafts[start : start + TOGETHER]
        signed = pool.submit(_signed, letters, part)
        ready += [partial(_of, signed, place) for place in range(len(part))]
    return ready


def _signed(letters: Letters, drafts: Sequence[Letter]) -> list[Letter]:
    return [letters.signed(draft) for draft in drafts]


def _of(signed: Future[list[Letter]], place: int) -> Letter:
    return signed.result()[place]


def _itself(draft: Letter) -> Letter:
    return draft
