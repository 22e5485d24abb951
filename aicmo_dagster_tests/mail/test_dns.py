"""Questions over real UDP to a name server of our own."""

import pytest

from aicmo_dagster.mail.dns import Dns, DnsUnavailable
from aicmo_dagster_tests.mail.name_server import name_server

RECORDS = {
    ("acme.example", "MX"): ["20 backup.acme.example.", "10 ASPMX.l.google.com."],
    ("acme.example", "TXT"): ['"v=spf1 include:" "mail.example ~all"', '"other"'],
    ("broken.example", "MX"): ["SERVFAIL"],
}


def test_the_preferred_exchanger_comes_first() -> None:
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port)
        assert lookup.exchangers("acme.example") == ["aspmx.l.google.com", "backup.acme.example"]


def test_a_text_in_pieces_is_put_together() -> None:
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port)
        assert sorted(lookup.texts("acme.example")) == [
            "other",
            "v=spf1 include:mail.example ~all",
        ]


def test_that_there_is_nothing_is_an_answer() -> None:
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port)
        assert lookup.exchangers("nowhere.example") == []
        assert lookup.texts("broken.example") == []


def test_no_answer_is_an_error() -> None:
    with name_server(RECORDS) as port:
        lookup = Dns(["127.0.0.1"], port=port, seconds=0.5)
        with pytest.raises(DnsUnavailable, match="no name server answers"):
            lookup.exchangers("broken.example")
    with pytest.raises(DnsUnavailable):
        Dns(["127.0.0.1"], port=port, seconds=0.2).texts("acme.example")
