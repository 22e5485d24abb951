"""A claimed send made into the bytes of a message, tracked, and signed if there is a key.

Not here: Markdown, MIME, DKIM or delivery themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aicmo_dagster.domain.campaigns import Step
from aicmo_dagster.domain.markdown import MessageTemplate, compile_message
from aicmo_dagster.domain.tokens import unsubscribe_token
from aicmo_dagster.domain.tracking import Link, Tracked, Tracker, fixed_links
from aicmo_dagster.mail.messages import Outgoing, Skeleton
from aicmo_dagster.mail.signing import Signer, read_signer, require_alignment
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.ledger import Send

_Template = tuple[int, str, str, str | None]
"""Version of the campaign document, sequence, step, variant."""


@dataclass(frozen=True)
class Letter:
    """A message, and where its links lead by their names: to be kept before it leaves."""

    content: bytes = field(repr=False)
    targets: Mapping[str, Link]


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
        self._templates: dict[_Template, MessageTemplate] = {}
        self._skeletons: dict[tuple[str, str], Skeleton] = {}
        self._fixed: dict[_Template, frozenset[str]] = {}
        self._secret_key = workspace.settings.secret_key()
        self._tracker = Tracker(
            self._secret_key, workspace.settings.public_url, self._key, self._track
        )
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
        token = unsubscribe_token(self._secret_key, self._key, send.lead_id)
        url = f"{self._workspace.settings.public_url}/u/{token}"
        replied_to = self._replied_to(send, thread)
        tracked = self._tracked(send, lead, url)
        message = Outgoing(
            recipient=send.email,
            recipient_name=_full_name(lead),
            message_id=send.message_id,
            date=send.dated_at or date,
            rendered=tracked.message,
            unsubscribe_url=url,
            in_reply_to=replied_to[-1] if replied_to else None,
            references=tuple(replied_to),
        )
        content = self._skeleton(send).message(message)
        if self._signer is not None:
            content = self._signer.signed(content, int(message.date.timestamp()))
        return Letter(content, tracked.targets)

    def _tracked(self, send: Send, lead: dict[str, Any], url: str) -> Tracked:
        template = self._template(send)
        rendered = template.render(self._tokens(lead, url))
        fixed = self._fixed[_template_of(send)]
        return self._tracker.tracked(rendered, send.lead_id, send.step, fixed)

    def _skeleton(self, send: Send) -> Skeleton:
        at = (send.sequence, send.step)
        if at not in self._skeletons:
            tagged = self._track.replies
            self._skeletons[at] = Skeleton(self._sender, self._key, *at, tagged=tagged)
        return self._skeletons[at]

    def _tokens(self, lead: dict[str, Any], url: str) -> dict[str, Any]:
        sender = self._sender
        return {
            **lead,
            "sender": {
                "name": sender.name,
                "address": sender.address,
                "postal_address": sender.postal_address,
            },
            "campaign": {"key": self._key, "name": self._name},
            "unsubscribe_url": url,
        }

    def _template(self, send: Send) -> MessageTemplate:
        at = _template_of(send)
        if at not in self._templates:
            version = self._version(send.campaign_version)
            texts = {v: (s, b) for v, s, b in self._step(send).texts()}
            subject, body = texts.get(send.variant) or next(iter(texts.values()))
            self._templates[at] = compile_message(
                subject or self._thread_subject(send),
                version.templates.get(body, body) if body else "",
            )
            self._fixed[at] = fixed_links(self._templates[at].source)
        return self._templates[at]

    def _thread_subject(self, send: Send) -> str:
        """The last subject before this step: a follow-up without one keeps its thread's."""
        subject = ""
        for step in self._steps(send):
            if step.id == send.step:
                break
            subject = step.subject or next((v.subject for v in step.variants if v.subject), subject)
        return subject

    def _replied_to(self, send: Send, thread: list[tuple[str, str]]) -> list[str]:
        """Message-IDs of the thread that this send continues; a subject starts a new one."""
        if any(subject for _, subject, _ in self._step(send).texts()):
            return []
        starts = {step.id for step in self._steps(send) if any(s for _, s, _ in step.texts())}
        continued: list[str] = []
        for step, identifier in thread:
            continued = [identifier] if step in starts else [*continued, identifier]
        return continued

    def _step(self, send: Send) -> Step:
        return next(step for step in self._steps(send) if step.id == send.step)

    def _steps(self, send: Send) -> list[Step]:
        return self._version(send.campaign_version).campaign.sequences[send.sequence].steps

    def _version(self, version: int) -> StoredCampaign:
        if version not in self._versions:
            self._versions[version] = self._workspace.campaign(self._key, version)
        return self._versions[version]


def _template_of(send: Send) -> _Template:
    return (send.campaign_version, send.sequence, send.step, send.variant)


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
