"""A claimed send made into the bytes of a message, tracked, and signed if there is a key.

Not here: Markdown, MIME, DKIM or delivery themselves.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import takewhile
from typing import Any

from aicmo_dagster.domain.markdown import MessageTemplate, Rendered, compile_message
from aicmo_dagster.domain.sandbox import RenderFailed
from aicmo_dagster.domain.sections.sequences import Step
from aicmo_dagster.domain.tokens import unsubscribe_token
from aicmo_dagster.domain.tracking import FixedLinks, Link, Tracked, Tracker, fixed_links
from aicmo_dagster.mail.headers import Undeliverable
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
        date: The message's.
    """

    sender: str
    content: bytes = field(repr=False)
    targets: Mapping[str, Link]
    date: datetime


Asked = tuple[Send, dict[str, Any], list[tuple[str, str]]]
"""A claimed send, its lead's fields, and the thread before it, as `write` has them."""

Unwritten = RenderFailed | Undeliverable
_At = tuple[int, str, str, str | None]


@dataclass(frozen=True)
class _Template:
    """What the sends of one step and variant share.

    Args:
        message: Compiled, with what is the same for every lead in it.
        links: Those of its links that are the same for every lead.
        new_skeleton: Makes what its messages have in common, if that can be.
        follows: Whether it continues the thread before it, having no subject of its own.
        starts: The steps of its sequence that start a thread.
    """

    message: MessageTemplate
    links: FixedLinks
    new_skeleton: Callable[[], Skeleton]
    follows: bool
    starts: frozenset[str]

    @cached_property
    def skeleton(self) -> Skeleton:
        """What its messages have in common; as Undeliverable as they are."""
        return self.new_skeleton()


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
        self._templates: dict[_At, _Template] = {}
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

    def fields(self, sends: Iterable[Send]) -> set[str]:
        """Of a lead, what the messages of `sends` may show; other names stand there too."""
        needed = (self._template(send).message.needed for send in sends)
        return {"first_name", "last_name"}.union(*needed)

    def follows(self, send: Send) -> bool:
        """Whether the message of `send` continues a thread, which `write` must then be told."""
        return self._template(send).follows

    def write(
        self, send: Send, lead: dict[str, Any], thread: list[tuple[str, str]], date: datetime
    ) -> Letter:
        """The message of `send` to `lead`; the same send always gets the same.

        Args:
            send: The claimed send.
            lead: The lead's `fields`, `custom` as a mapping.
            thread: (step, Message-ID) of the lead's earlier messages, oldest first.
            date: Of a message that was not tried before; one that was keeps its own.

        Raises:
            RenderFailed: If a template names what this lead lacks.
            Undeliverable: If the address cannot be written to.
        """
        (made,) = self.drafts([(send, lead, thread)], date)
        if not isinstance(made, Letter):
            raise made
        return self.signed(made)

    def drafts(self, asked: Sequence[Asked], date: datetime) -> list[Letter | Unwritten]:
        """As `write` for each of `asked`, not signed yet; why not, where there can be no message.

        One stage after the other for all of them: so each finds its code in the processor's cache,
        which takes less time.
        """
        made: list[Letter | Unwritten | None] = [None] * len(asked)
        rendered = []
        for place, (send, lead, _) in enumerate(asked):
            template = self._template(send)
            try:
                rendered.append((place, template, *self._rendered(template, send, lead)))
            except RenderFailed as error:
                made[place] = error
        tracked = [
            (place, template, url, self._tracked(template, asked[place][0], message))
            for place, template, url, message in rendered
        ]
        for place, template, url, message in tracked:
            try:
                made[place] = _assembled(template, *asked[place], date, url, message)
            except Undeliverable as error:
                made[place] = error
        return [each for each in made if each is not None]

    def _rendered(
        self, template: _Template, send: Send, lead: dict[str, Any]
    ) -> tuple[str, Rendered]:
        """The lead's link to unsubscribe by, and the message with it."""
        url = self._unsubscribe_url + unsubscribe_token(self._secret_key, self._key, send.lead_id)
        return url, template.message.render({**lead, **self._shared, "unsubscribe_url": url})

    def _tracked(self, template: _Template, send: Send, message: Rendered) -> Tracked:
        return self._tracker.tracked(message, send.lead_id, send.step, template.links)

    @property
    def are_signed(self) -> bool:
        """Whether `signed` has anything to do."""
        return self._signer is not None

    def signed(self, letter: Letter) -> Letter:
        """`letter` with its signature; in any thread."""
        if self._signer is None:
            return letter
        content = self._signer.signed(letter.content, int(letter.date.timestamp()))
        return replace(letter, content=content)

    def _template(self, send: Send) -> _Template:
        at = (send.campaign_version, send.sequence, send.step, send.variant)
        if (template := self._templates.get(at)) is None:
            self._templates[at] = template = self._compiled(send)
        return template

    def _compiled(self, send: Send) -> _Template:
        version = self._version(send.campaign_version)
        steps = version.campaign.sequences[send.sequence].steps
        step = next(each for each in steps if each.id == send.step)
        texts = {v: (s, b) for v, s, b in step.texts()}
        subject, body = texts.get(send.variant) or next(iter(texts.values()))
        message = compile_message(
            subject or _thread_subject(steps, send.step),
            version.templates.get(body, body) if body else "",
            self._shared,
        )
        told = (self._sender, self._key, send.sequence, send.step)
        starts = frozenset(each.id for each in steps if any(s for _, s, _ in each.texts()))
        return _Template(
            message=message,
            links=fixed_links(message.source),
            new_skeleton=partial(Skeleton, *told, tagged=self._track.replies),
            follows=send.step not in starts,
            starts=starts,
        )

    def _version(self, version: int) -> StoredCampaign:
        if version not in self._versions:
            self._versions[version] = self._workspace.campaign(self._key, version)
        return self._versions[version]


def _assembled(
    template: _Template,
    send: Send,
    lead: dict[str, Any],
    thread: list[tuple[str, str]],
    date: datetime,
    url: str,
    tracked: Tracked,
) -> Letter:
    """The letter of `send`, which follows those of `thread` if its template does."""
    replied_to = _continued(thread, template.starts) if template.follows else ()
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
    sender = template.skeleton.return_path(send.message_id)
    return Letter(sender, template.skeleton.message(message), tracked.targets, message.date)


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
