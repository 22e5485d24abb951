"""Which hosts are told to be private before anyone connects to them."""

import pytest

from aicmo_dagster.handoff.connections import is_private_host


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1."),
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "::FFFF:7f00:1"),
        *("64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "2002:a00:1::1", "2002:c0a8:101::", "::10.0.0.1"),
        *("2001:0:808:808::f5ff:fffe", "2002:808:808::1", "64:ff9b:1::808:808"),
        *("localhost", "LocalHost.", "api.localhost"),
    ],
)
def test_an_address_inside_is_private_however_it_is_written(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("8.8.8.8", "134744072", "0x08.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"),
        *("crm.acme.example", "10.example"),
    ],
)
def test_public_addresses_and_names_are_not(host: str) -> None:
    assert not is_private_host(host)
