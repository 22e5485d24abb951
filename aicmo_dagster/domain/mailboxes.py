"""Whose mailboxes a domain's addresses are: who judges a sender judges it for all of them.

By the domain alone; not here: looking MX records up.
"""

_DOMAINS = {
    "google": "gmail.com googlemail.com",
    "microsoft": "outlook.com hotmail.com live.com msn.com hotmail.co.uk hotmail.fr hotmail.de "
    "outlook.fr outlook.de outlook.es live.co.uk live.fr live.nl live.no live.se",
    "yahoo": "yahoo.com yahoo.co.uk yahoo.fr yahoo.de yahoo.co.in ymail.com rocketmail.com "
    "aol.com aim.com",
    "icloud": "icloud.com me.com mac.com",
    "proton": "proton.me protonmail.com pm.me",
    "gmx": "gmx.net gmx.de gmx.com gmx.at gmx.ch web.de mail.com",
}
_PROVIDERS = {domain: name for name, domains in _DOMAINS.items() for domain in domains.split()}


def mailbox_provider(domain: str) -> str:
    """Who runs the mailboxes at `domain`, in lower case; the domain itself where nobody known."""
    return _PROVIDERS.get(domain, domain)
