from typing import Any

import pytest

from aicmo_dagster.domain.nurture.rehearsal import (
    Fault,
    Rehearsal,
    dmarc_names,
    domain_faults,
    link_fault,
    messages_of,
)
from aicmo_dagster_tests.samples import campaign, campaign_document, lead_id


def lead(number: int, **fields: Any) -> dict[str, Any]:
    return {"lead_id": lead_id(number), "email": f"a@c{number}.example", "custom": {}, **fields}


def rehearsal(*steps: dict[str, Any], **templates: str) -> Rehearsal:
    return Rehearsal(campaign(sequences={"everyone": {"steps": list(steps)}}), templates)


INTRO = {"id": "intro", "subject": "Hello {{ first_name }}", "body": "Good day."}


def test_what_single_leads_lack_holds_these_leads_only() -> None:
    played = rehearsal(INTRO)
    played.play([lead(1, first_name="Ann"), lead(2, first_name="Bo"), lead(3)], {})

    assert played.leads == 3
    (fault,) = played.faults()
    assert (fault.place, fault.leads, fault.blocks) == ("everyone.intro", 1, False)
    assert "first_name" in fault.reason


def test_what_most_leads_lack_keeps_the_campaign_from_starting() -> None:
    played = rehearsal(INTRO, INTRO | {"id": "next", "subject": "Again"})
    played.play([lead(1, first_name="Ann"), lead(2), lead(3)], {})

    assert [(fault.place, fault.leads, fault.blocks) for fault in played.faults()] == [
        ("everyone.intro", 2, True)
    ]


def test_a_campaign_in_order_has_no_faults() -> None:
    played = rehearsal(INTRO, {"id": "next", "body": "[Read](https://acme.example/a?b=1&c=2)"})
    played.play([lead(1, first_name="Ann")], {})

    assert played.faults() == []


def test_leads_in_a_sequence_get_the_messages_of_that_sequence_only() -> None:
    sequences = {
        "one": {"steps": [INTRO]},
        "two": {"steps": [INTRO | {"subject": "Hello"}]},
    }
    routes = {"sequences": [{"sequence": "one"}, {"sequence": "two"}]}
    played = Rehearsal(campaign(sequences=sequences, routing=routes), {})
    played.play([lead(1), lead(2)], {lead_id(1): "two"})

    assert [(fault.place, fault.leads) for fault in played.faults()] == [("one.intro", 1)]


def test_a_template_that_is_none_blocks() -> None:
    played = rehearsal(INTRO | {"body": "text.md.j2"}, **{"text.md.j2": "{{ nobody }}"})
    played.play([lead(1, first_name="Ann")], {})

    (fault,) = played.faults()
    assert fault.blocks
    assert "nobody" in fault.reason


def test_a_link_without_a_host_is_found_in_what_each_lead_would_get() -> None:
    played = rehearsal(INTRO | {"subject": "Hi", "body": "[a](https://{{ domain }}/b)"})
    played.play([lead(1, domain="c.example"), lead(2, domain=" "), lead(3, domain="d.example")], {})

    assert [(fault.reason, fault.leads) for fault in played.faults()] == [
        ("a link without a host", 1)
    ]


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        ("[a guide](https://acme.example/our guide)", True),
        ("[a guide](https://{{ domain }}/a b)", True),
        ("`[a guide](as one writes it)`", False),
        ("[a guide]({{ custom.url }})", False),
    ],
)
def test_a_link_that_markdown_reads_as_text_blocks(body: str, blocks: bool) -> None:
    faults = rehearsal(INTRO | {"subject": "Hi", "body": body}).faults()

    assert [fault.blocks for fault in faults] == [True] * blocks
    assert all("Markdown does not read" in fault.reason for fault in faults)


def test_a_follow_up_has_the_subject_of_its_thread() -> None:
    each = campaign(
        sequences={
            "everyone": {
                "steps": [
                    INTRO,
                    {"id": "b", "body": "x"},
                    {
                        "id": "c",
                        "variants": [
                            {"id": "u", "subject": "New", "body": "x"},
                            {"id": "v", "body": "y"},
                        ],
                    },
                    {"id": "d", "body": "x"},
                ]
            }
        }
    )
    told = [(message.place, message.subject) for message in messages_of(each, {})]

    assert told == [
        ("everyone.intro", "Hello {{ first_name }}"),
        ("everyone.b", "Hello {{ first_name }}"),
        ("everyone.c.u", "New"),
        ("everyone.c.v", "Hello {{ first_name }}"),
        ("everyone.d", "New"),
    ]


def test_a_postal_address_of_several_lines_is_found() -> None:
    nurture = campaign_document()["nurture"]
    nurture["sender"]["postal_address"] = "Acme  AS\nKai 7\n5003 Bergen"
    played = Rehearsal(campaign(nurture=nurture), {})
    played.play([lead(1)], {})

    assert played.faults() == []


LINKS = {
    "https://acme.example/a?b#c": None,
    "http://localhost:8000/x": None,
    "https://user@acme.example:8443/": None,
    "https://[2001:db8::1]/x": None,
    "mailto:ida@acme.example?subject=Hello": None,
    "tel:+4755123456": None,
    "https:///x": "a link without a host",
    "https://acme": "a link without a host",
    "https://acme example.com/": "a link without a host",
    "https://acme.example:port/": "a link that is no address",
    "mailto:ida": "a mailto: link without an address",
    "tel:call": "a tel: link without a number",
    "/relative": "a link that begins with neither http, https, mailto nor tel",
    "javascript:alert(1)": "a link that begins with neither http, https, mailto nor tel",
}


@pytest.mark.parametrize(("url", "fault"), LINKS.items())
def test_the_form_of_a_link_is_checked(url: str, fault: str | None) -> None:
    assert link_fault(url) == fault


SPF, DMARC = ["other", "v=spf1 include:_spf.mail.example ~all"], ["v=DMARC1; p=none"]


def reasons(**told: Any) -> list[str]:
    given = {"spf": SPF, "dmarc": DMARC, **told}
    return [fault.reason for fault in domain_faults("acme.example", **given)]


def test_a_domain_with_all_that_receivers_demand_has_no_faults() -> None:
    assert reasons() == reasons(dkim=["v=DKIM1; k=rsa; p=MIIB"]) == []


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"spf": []}, "no SPF records"),
        ({"spf": ["v=spf10 -all"]}, "no SPF records"),
        ({"spf": [*SPF, *SPF]}, "2 SPF records"),
        ({"spf": ["v=spf1 +all"]}, "lets everyone send"),
        ({"spf": ["v=spf1 all"]}, "lets everyone send"),
        ({"dmarc": []}, "no DMARC record"),
        ({"dmarc": ["v=DMARC1; rua=mailto:a@b.example"]}, "no DMARC record"),
        ({"dmarc": [*DMARC, *DMARC]}, "no DMARC record"),
        ({"dkim": []}, "no DKIM key"),
        ({"dkim": ["v=DKIM1; p="]}, "no DKIM key"),
    ],
)
def test_a_domain_that_lacks_something_may_not_send(told: dict[str, Any], reason: str) -> None:
    (found,) = reasons(**told)
    assert reason in found
    assert domain_faults("acme.example", spf=[], dmarc=[])[0] == Fault(
        "acme.example", "no SPF records, where there must be one", 0, blocks=True
    )


def test_a_dmarc_record_may_stand_above() -> None:
    assert dmarc_names("news.acme.co.example") == [
        "_dmarc.news.acme.co.example",
        "_dmarc.acme.co.example",
        "_dmarc.co.example",
    ]
    assert dmarc_names("acme.example") == ["_dmarc.acme.example"]
