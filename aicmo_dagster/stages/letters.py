"""A claimed send made into the bytes of a message, tracked, and signed if there is a key.

Not here: Markdown, MIME, DKIM or delivery themselves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any

from aicmo_dagster.domain.campaigns import Step
from aicmo_dagster.domain.markdown import MessageTemplate, compile_message
from aicmo_dagster.domain.tokens import unsubscribe_token
from aicmo_dagster.domain.tracking import Link, Tracker, fixed_links
from aicmo_dagster.mail.messages import Outgoing, Skeleton
from aicmo_dagster.mail.signing import Signer, read_signer, require_alignment
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.ledger import Send


@dataclass(frozen=True)
class Letter:
    """A message, and where its links lead by their names: to be kept before it leaves.

    Args:
        sender: The envelope's.
        content: The message.
        targets: Of its links.
    """

    sender: str
    content: bytes = field(repr=False)
    targets: Mapping[str, Link]


@dataclass(frozen=True)
class _Kind:
    """What the sends of one step and variant share.

    Args:
        template: Compiled.
        fixed: URLs of its links that are the same for every lead.
        skeleton: Of its messages.
        follows: Whether it continues the thread before it, having no subject of its own.
        starts: The steps of its sequence that start a thread.
    """

    template: MessageTemplate
    fixed: frozenset[str]
    skeleton: Skeleton
    follows: bool
    starts: frozenset[str]


class Letters:
    """Writes the messages of one campaign; each template is compiled once.

    Raises:
        BadInput: If there is to be a signature, and the key cannot sign.
        AicmoError: If the signature is not of the sender's domain.
    """

    def __init__(self, workspace: Workspace, stored: StoredCampaign) -> None:
        self._workspace = workspace
        self._sender = stored.campaign.nurture.sender
        self._track = stored.campaign.nurture.track
        self._key = stored.campaign.campaign
        self._name = stored.campaign.name
        self._versions: dict[int, StoredCampaign] = {}
        self._kinds: dict[tuple[int, str, str, str | None], _Kind] = {}
        self._secret_key = workspace.settings.secret_key()
        self._tracker = Tracker(
            self._secret_key, workspace.settings.public_url, self._key, self._track
        )
        self._unsubscribe_url = f"{workspace.settings.public_url}/u/"
        self._shared = {
            "sender": {
                "name": self._sender.name,
                "address": self._sender.address,
                "postal_address": self._sender.postal_address,
            },
            "campaign": {"key": self._key, "name": self._name},
        }
        self._signer = open_signer(workspace, self._sender.address)

    def write(
        self, send: Send, lead: dict[str, Any], thread: list[tuple[str, str]], date: datetime
    ) -> Letter:
        """The message of `send` to `lead`; the same send always gets the same.

        Args:
            send: The claimed send.
            lead: The lead's fields, `custom` as a mapping.
            thread: (step, Message-ID) of the lead's earlier messages, oldest first.
            date: Of a message that was not tried before; one that was keeps its own.

        Raises:
            RenderFailed: If a template names what this lead lacks.
            Undeliverable: If the address cannot be written to.
        """
        kind = self._kind(send)
        token = unsubscribe_token(self._secret_key, self._key, send.lead_id)
        url = self._unsubscribe_url + token
        rendered = kind.template.render({**lead, **self._shared, "unsubscribe_url": url})
        tracked = self._tracker.tracked(rendered, send.lead_id, send.step, kind.fixed)
        replied_to = _continued(thread, kind.starts) if kind.follows else ()
        message = Outgoing(
            recipient=send.email,
            recipient_name=_full_name(lead),
            message_id=send.message_id,
            date=send.dated_at or date,
            rendered=tracked.message,
            unsubscribe_url=url,
            in_reply_to=replied_to[-1] if replied_to else None,
            references=replied_to,
        )
        content = kind.skeleton.message(message)
        if self._signer is not None:
            content = self._signer.signed(content, int(message.date.timestamp()))
        return Letter(kind.skeleton.return_path(send.message_id), content, tracked.targets)

    def _kind(self, send: Send) -> _Kind:
        at = (send.campaign_version, send.sequence, send.step, send.variant)
        if (kind := self._kinds.get(at)) is None:
            self._kinds[at] = kind = self._compiled(send)
        return kind

    def _compiled(self, send: Send) -> _Kind:
        version = self._version(send.campaign_version)
        steps = version.campaign.sequences[send.sequence].steps
        step = next(each for each in steps if each.id == send.step)
        texts = {v: (s, b) for v, s, b in step.texts()}
        subject, body = texts.get(send.variant) or next(iter(texts.values()))
        template = compile_message(
            subject or _thread_subject(steps, send.step),
            version.templates.get(body, body) if body else "",
        )
        at = (self._sender, self._key, send.sequence, send.step)
        starts = frozenset(each.id for each in steps if any(s for _, s, _ in each.texts()))
        return _Kind(
            template=template,
            fixed=fixed_links(template.source),
            skeleton=Skeleton(*at, tagged=self._track.replies),
            follows=send.step not in starts,
            starts=starts,
        )

    def _version(self, version: int) -> StoredCampaign:
        if version not in self._versions:
            self._versions[version] = self._workspace.campaign(self._key, version)
        return self._versions[version]


def _thread_subject(steps: Sequence[Step], last: str) -> str:
    """The last subject before the step `last`: a follow-up without one keeps its thread's."""
    subject = ""
    for step in takewhile(lambda step: step.id != last, steps):
        subject = step.subject or next((v.subject for v in step.variants if v.subject), subject)
    return subject


def _continued(thread: Sequence[tuple[str, str]], starts: Collection[str]) -> tuple[str, ...]:
    """Message-IDs of the last thread in `thread`, oldest first; each of `starts` begins one."""
    continued: list[str] = []
    for step, identifier in thread:
        continued = [identifier] if step in starts else [*continued, identifier]
    return tuple(continued)


def _full_name(lead: dict[str, Any]) -> str | None:
    return " ".join(filter(None, (lead["first_name"], lead["last_name"]))) or None


def open_signer(workspace: Workspace, sender: str) -> Signer | None:
    """Signs mail from the address `sender`; none where mail is not signed here.

    Raises:
        BadInput: If the key cannot sign.
        AicmoError: If the signature is not of the sender's domain.
    """
    dkim = workspace.settings.dkim
    if dkim is None:
        return None
    signer = read_signer(dkim.domain, dkim.selector, dkim.key_file)
    require_alignment(signer, sender)
    return signer
