"""A hook that takes what Slack's incoming webhooks take, as Mattermost and others do too.

Not here: what is said (`domain.incidents`).
"""

import requests

from aicmo_dagster.domain.incidents import Notice
from aicmo_dagster.handoff.connections import TIMEOUT_SECONDS, open_session
from aicmo_dagster.handoff.delivery import Outcome
from aicmo_dagster.handoff.webhooks import judged, unanswered


class SlackHook:
    """POSTs a notice as one message; the URL is the secret, so that nothing is signed."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        self._url = url
        self._session = open_session(allow_private=allow_private)

    def tell(self, notice: Notice) -> Outcome:
        """What came of one attempt."""
        try:
            answer = self._session.post(
                self._url,
                json={"text": _escaped(notice.text)},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,  # its body is of no interest, however long
            )
        except (requests.RequestException, ValueError) as error:
            return unanswered(error)
        with answer:
            return judged(answer.status_code, answer.headers.get("Retry-After"))


def _escaped(text: str) -> str:
    """The three characters that mean something to Slack, as its documentation asks."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
