import pytest

from aicmo_dagster.domain.nurture.mailboxes import provider_by_exchangers, provider_by_name

EXCHANGERS = {
    "Google Workspace": (["aspmx.l.google.com."], "google"),
    "Office 365": (["acme-example.mail.protection.outlook.com"], "office365"),
    "Outlook's own": (["outlook-com.olc.protection.outlook.com"], "outlook"),
    "in capitals": (["ASPMX.L.GOOGLE.COM"], "google"),
    "the preferred one counts": (
        ["eu-smtp-inbound-1.mimecast.com", "aspmx.l.google.com"],
        "mimecast",
    ),
    "a known one further down": (["mx.acme.example", "aspmx.l.google.com"], "google"),
    "a small provider": (["mx1.host.example", "mx2.host.example"], "host.example"),
    "a name that only ends alike": (["mx.notgoogle.com"], "notgoogle.com"),
    "none": ([], "acme.example"),
    "a null MX": (["."], "acme.example"),
}


@pytest.mark.parametrize(("hosts", "provider"), EXCHANGERS.values(), ids=EXCHANGERS)
def test_a_provider_is_told_by_its_exchangers(hosts: list[str], provider: str) -> None:
    assert provider_by_exchangers("acme.example", hosts) == provider


def test_the_large_providers_are_known_by_name() -> None:
    assert provider_by_name("gmail.com") == "google"
    assert provider_by_name("acme.example") == "acme.example"
