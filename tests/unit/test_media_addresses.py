"""From where media are fetched."""

import pytest

from penstock_service.media_addresses import is_public, url_refusal

HOSTS = ("images.example.com", "Other.example.org:8443")


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.com/a.png",
        "https://images.example.com",
        "https://images.example.com:443/a?b=c&d=%20#e",
        "HTTPS://IMAGES.example.COM/a.png",
        "https://images.example.com?a",
        "https://other.example.org:8443/a.png",
    ],
)
def test_what_is_on_a_permitted_host_is_fetched(url: str) -> None:
    assert url_refusal(url, HOSTS) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.com/a.png",
        "ftp://images.example.com/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "images.example.com/a.png",
        "https://user@images.example.com/a.png",
        "https://images.example.com@evil.example/a.png",
        "https://images.example.com\\@evil.example/a.png",
        "https://images.example.com%2eevil.example/",
        "https://images.example.com/a b",
        "https://images.example.com/\r\nHost: evil",
        "https://images.example.com/ä",
        "https://[::1]/",
        "https://[images.example.com]/",
        "https:///a.png",
        "",
    ],
)
def test_other_forms_are_refused(url: str) -> None:
    assert "https URL" in url_refusal(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a.png",
        "https://images.example.com.evil.example/a.png",
        "https://images.example.com./a.png",
        "https://sub.images.example.com/a.png",
        "https://images.example.com:22/a.png",
        "https://other.example.org/a.png",
        "https://localhost/",
    ],
)
def test_other_hosts_and_ports_are_refused(url: str) -> None:
    assert "host that the server's operator permits" in url_refusal(url, HOSTS)
    assert url_refusal(url, ()) == url_refusal(url, HOSTS)


@pytest.mark.parametrize("host", ["127.0.0.1", "93.184.216.34", "2130706433", "0x7f.1", "0x7f000001", "127.1"])
def test_an_address_is_no_name_even_if_it_is_permitted(host: str) -> None:
    assert "host that" in url_refusal(f"https://{host}/", [host])


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1450::1"],
)
def test_public_addresses_are_asked(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"),  # noqa: S104
        *("192.168.0.1", "169.254.0.1", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:0"),
        *("64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "2001::1"),
        *("2001:db8::1", "100::1", "4000::1"),
    ],
)
def test_private_and_special_addresses_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
)
def test_the_clouds_own_servers_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["", "example.com", "1.2.3", "1.2.3.4.5", "8.8.8.8 ", "08.8.8.8"])
def test_what_is_no_address_is_not(address: str) -> None:
    assert not is_public(address)
