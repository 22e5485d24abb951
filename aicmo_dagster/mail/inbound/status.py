"""What a failed delivery says about the lead, the domain, the message or us.

By the enhanced status code (RFC 3463, RFC 5248), else by the words of the server that refused. Not
every 5.x.x is about the recipient: 5.7.x is about us, and must cost no lead its address. Not here:
finding code and words in a message (`bounces`).
"""

import re
from typing import Literal

Failure = Literal["dead_address", "dead_domain", "soft", "sender", "message", "delayed"]

_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")

_BY_CODE: dict[str, Failure] = {
    **dict.fromkeys(("5.1.1", "5.1.3", "5.1.6", "5.2.1", "5.7.13", "5.7.17"), "dead_address"),
    **dict.fromkeys(("5.1.2", "5.1.10", "5.4.4", "5.7.18"), "dead_domain"),
    **dict.fromkeys(("5.2.2", "5.2.3", "5.4.7"), "soft"),
    **dict.fromkeys(("5.1.7", "5.1.8"), "sender"),
    **dict.fromkeys(("5.3.4", "5.4.6"), "message"),
}
_BY_SUBJECT: dict[str, Failure] = {"5": "message", "6": "message", "7": "sender"}

_BY_WORDS: tuple[tuple[Failure, re.Pattern[str]], ...] = tuple(
    (failure, re.compile(pattern, re.IGNORECASE))  # type: ignore[misc]
    for failure, pattern in (
        (
            "soft",
            r"quota|(mail ?box|inbox|folder) (is |was )?(full|over)|space not enough|"
            r"disk (is )?full|"
            r"(insufficient|out of|exceeded) (system )?storage|mailbox size limit|exceeded .{0,20}"
            r"(storage|mailbox)",
        ),
        (
            "dead_domain",
            r"(unknown|no such|bad destination|illegal) (mail )?(host|domain)|(host|domain) "
            r"(name )?(is )?(unknown|not found|(lookup )?failed|(does|did) ?(not|n'?t) exist)|"
            r"name ?server (error|lookup)|nxdomain|couldn'?t find any host|"
            r"no (mx|a) record|unrouteable|unroutable|host not known",
        ),
        (
            "dead_address",
            r"(user|recipient|mailbox|account|address|addressee|alias|login|person|name)s?\b"
            r".{0,60}?((is |are |was )?(unknown|invalid|disabled|closed|inactive|suspended|"
            r"deactivated|terminated|expired)|not (be )?(found|known|exist|listed|valid|active|"
            r"recogni[sz]ed|available|a valid|here)|(does|did) ?(not|n'?t) (exist|have)|"
            r"unavailable|no longer|doesn'?t have|not a valid|has been (disabled|removed|deleted))|"
            r"(unknown|no such|no|invalid|illegal|bad|incorrect|non-?existent|undeliverable)"
            r" (or (illegal|unknown) )?(local )?(user|recipient|mailbox|account|address|alias|"
            r"person|name|id|final delivery userid)|n'existe pas|did not .{0,10}match|"
            r"not a valid user|doesn'?t have an? .{0,40}account|not? known here|"
            r"recipient (address )?rejected|non recens|not (listed|registered) in|"
            r"there is no one|no one (here )?(by|with) that name|not our customer|"
            r"неизвестн|не существует|not a local user|isn'?t a valid",
        ),
        (
            "sender",
            r"spam|block(ed|list|ing)|blacklist|reputation|unsolicited|dmarc|\bspf\b|dkim|\brbl\b|"
            r"policy|relay|not authori[sz]ed|(access|permission) denied|not permitted|not allowed|"
            r"refused by|banned|content (was )?(reject|filter|restrict)|rejected by|challenge",
        ),
        (
            "message",
            r"too (large|big|long)|(maximum|message) (inbound )?(message )?size|"
            r"size (exceed|limit)|virus|infected|too many hops|mail loop|"
            r"loop(s|ed)? (back|detected)|attachment",
        ),
    )
)


def failure_of(status: str, words: str) -> Failure:
    """What a permanent or temporary failure is about.

    Args:
        status: The enhanced code, with whatever stands around it, or empty.
        words: What the refusing server said.

    Returns:
        `dead_address` and `dead_domain`: never to be written to again. `soft`: of the recipient's
        side and passing, or of a cause that nobody told. `sender`: of ours. `message`: of this one.
    """
    code = _most_telling(status, words)
    if code.startswith("4."):
        return "soft"
    known = _BY_CODE.get(code) or _BY_SUBJECT.get(code.split(".")[1] if code else "")
    if known:
        return known
    if code == "5.4.1" and "recipient address rejected" not in words.lower():
        return "soft"
    return next((failure for failure, said in _BY_WORDS if said.search(words)), "soft")


def explains(words: str) -> bool:
    """Whether `words` say why something could not be delivered."""
    return bool(_CODE.search(words)) or any(said.search(words) for _, said in _BY_WORDS)


def code_in(text: str) -> str:
    """The first enhanced status code in `text`, or nothing."""
    found = _CODE.search(text)
    return found[0] if found else ""


def _most_telling(status: str, words: str) -> str:
    """The code given, unless it says nothing and the words hold one that says more."""
    given = code_in(status)
    if given and not given.endswith(".0.0"):
        return given
    return code_in(words) or given
