import pyarrow
import pytest

from aicmo_dagster.domain.addresses import FREE_MAIL, ROLES, address_kinds
from aicmo_dagster.domain.conditions import Comparison
from aicmo_dagster.domain.facts import Facts, mask
from aicmo_dagster.domain.schemas import ADDRESS_KINDS
from aicmo_dagster_tests.domain.lead_columns import lead_columns


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("ada@acme.example", "company"),
        ("ada@gmail.com", "free"),
        ("ada.king@web.de", "free"),
        ("info@acme.example", "role"),
        ("sales+spring@acme.example", "role"),
        ("postmaster@acme.example", "role"),
        ("salesman@acme.example", "company"),
        ("ada@sub.gmail.com", "company"),
        ("ada@mailinator.com", "disposable"),
        ("info@gmail.com", "role"),
        ("info@mailinator.com", "disposable"),
        (None, None),
    ],
)
def test_the_kind_of_an_address_is_the_first_that_fits(address: str | None, kind: str | None):
    assert address_kinds(pyarrow.array([address], pyarrow.string())).to_pylist() == [kind]


def test_no_addresses_have_no_kinds():
    assert address_kinds(pyarrow.array([], pyarrow.string())).to_pylist() == []


def test_the_lists_are_spelled_as_normalised_addresses_are():
    for name in (*FREE_MAIL, *ROLES):
        assert name == name.lower().strip()
    assert len(set(FREE_MAIL)) == len(FREE_MAIL)
    assert len(set(ROLES)) == len(ROLES)


def test_free_mail_is_not_taken_for_disposable():
    addresses = pyarrow.array([f"ada.king@{domain}" for domain in FREE_MAIL])
    assert set(address_kinds(addresses).to_pylist()) == {"free"}


def test_a_condition_may_name_the_kind_but_not_the_origins():
    rule = Comparison.model_validate(
        {"field": "address_kind", "op": "not_in", "value": list(ADDRESS_KINDS[:2])}
    )
    facts = Facts(lead_columns({"custom": ["{}"] * 2, "address_kind": ["role", "company"]}))
    assert mask(rule, facts).tolist() == [False, True]
    with pytest.raises(ValueError, match="a lead's field"):
        Comparison.model_validate({"field": "origins", "op": "==", "value": "{}"})
