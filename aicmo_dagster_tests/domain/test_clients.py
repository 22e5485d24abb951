import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicmo_dagster.domain.clients import LONGEST_AGENT, address, agent, network

KEY = b"a key"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("testclient", None),
        ("", None),
        (None, None),
        ("1" * 10_000, None),
    ],
)
def test_an_address_has_one_spelling(host: str | None, expected: str | None) -> None:
    assert address(host) == expected


@given(st.text(max_size=700))
def test_an_agent_is_printable_and_bounded(text: str) -> None:
    kept = agent(text)

    assert kept.isprintable()
    assert len(kept) <= LONGEST_AGENT


def test_of_an_address_its_network_is_left_with_a_mark_for_one_lead() -> None:
    first, second = (network(KEY, "lead", f"198.51.100.{n}") for n in (7, 8))

    assert str(first).startswith("198.51.100.0/24#")
    assert first != second
    assert first == network(KEY, "lead", "198.51.100.7")
    assert first != network(KEY, "another", "198.51.100.7")
    assert str(network(KEY, "lead", "2001:db8:1:2::3")).startswith("2001:db8:1::/48#")
    assert network(KEY, "lead", "nonsense") is None
