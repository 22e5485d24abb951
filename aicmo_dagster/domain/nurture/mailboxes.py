"""Who keeps the mailboxes of a domain, told from its mail exchangers or its name.

Providers count mail over all domains that they host, so that a limit by domain alone is none. The
suffixes are those that KumoMTA's published shaping rules group by. Not here: asking the DNS
(`mail.dns`).
"""

from collections.abc import Sequence

_EXCHANGERS = {
    "google.com": "google",
    "googlemail.com": "google",
    "olc.protection.outlook.com": "outlook",
    "protection.outlook.com": "office365",
    "mx.microsoft": "office365",
    "yahoodns.net": "yahoo",
    "icloud.com": "icloud",
    "mimecast.com": "mimecast",
    "pphosted.com": "proofpoint",
    "ppe-hosted.com": "proofpoint",
    "barracudanetworks.com": "barracuda",
    "messagelabs.com": "symantec",
    "orange.fr": "orange",
    "gmx.net": "gmx",
    "web.de": "gmx",
    "zoho.com": "zoho",
    "zoho.eu": "zoho",
    "secureserver.net": "godaddy",
    "ovh.net": "ovh",
    "yandex.ru": "yandex",
}

_DOMAINS = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), "google"),
    **dict.fromkeys(("outlook.com", "hotmail.com", "live.com", "msn.com"), "outlook"),
    **dict.fromkeys(("yahoo.com", "yahoo.co.uk", "yahoo.de", "aol.com", "ymail.com"), "yahoo"),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), "icloud"),
    **dict.fromkeys(("gmx.de", "gmx.net", "web.de"), "gmx"),
    **dict.fromkeys(("orange.fr", "wanadoo.fr"), "orange"),
}


def provider_by_name(domain: str) -> str:
    """The provider of a domain that is known by its name; else the domain itself."""
    return _DOMAINS.get(domain, domain)


def provider_by_exchangers(domain: str, exchangers: Sequence[str]) -> str:
    """The provider whose mail exchangers a domain has, the preferred one first.

    One that is not known goes by the last two labels of its exchanger's name; a domain without any
    is its own.
    """
    for exchanger in exchangers:
        labels = exchanger.rstrip(".").lower().split(".")
        suffixes = (".".join(labels[start:]) for start in range(len(labels)))
        known = next((_EXCHANGERS[suffix] for suffix in suffixes if suffix in _EXCHANGERS), None)
        if known:
            return known
    if not exchangers or not exchangers[0].strip("."):
        return provider_by_name(domain)
    return ".".join(exchangers[0].rstrip(".").lower().split(".")[-2:])
