"""What a client's target, proxy and key come to."""

from typing import Any

import pytest

from penstock.api_key import with_api_key
from penstock.channel_options import proxy_options
from penstock.endpoints.targets import Address, Name, parse_targets
from penstock.tls import Tls, tls_argument


@pytest.mark.parametrize("target", ["localhost:50051", "llm", "unix:/run/llm.sock", "ipv4:10.0.0.1:1,10.0.0.2:1"])
def test_a_target_other_than_dns_is_one_endpoint_that_grpc_dials_as_it_is(target: str) -> None:
    assert parse_targets(target) == (Address(target, target),)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("dns:///llm.svc:50051", Name("llm.svc", "50051")),
        ("dns:llm.svc:50051", Name("llm.svc", "50051")),
        ("dns:///llm.svc", Name("llm.svc", "443")),
        ("dns:///[::1]:50051", Name("[::1]", "50051")),
    ],
)
def test_a_dns_target_is_a_name_to_look_up(target: str, name: Name) -> None:
    assert parse_targets(target) == (name,)


def test_a_dns_target_with_a_server_of_its_own_is_left_to_grpc() -> None:
    target = "dns://10.0.0.53/llm.svc:50051"

    assert parse_targets(target) == (Address(target, target),)


def test_a_list_has_an_endpoint_for_each_of_its_targets_once() -> None:
    assert parse_targets(["a:1", "b:1", "a:1", "dns:///c:1"]) == (
        Address("a:1", "a:1"),
        Address("b:1", "b:1"),
        Name("c", "1"),
    )


def test_an_address_behind_a_name_is_dialled_by_itself_and_called_by_the_name() -> None:
    assert Name("llm.svc", "1").at("10.0.0.1", 50051).target == "10.0.0.1:50051"
    assert Name("llm.svc", "1").at("10.0.0.1", 50051).authority == "llm.svc:1"


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([], ValueError, "target is an empty list"),
        ("", ValueError, "target is empty"),
        (["a:1", " "], ValueError, "target is empty"),
        ("https://llm.example", ValueError, "must be like 'host:port', with tls=True for https"),
        (50051, TypeError, "target must be a list of str, not int"),
        (["a:1", 2], TypeError, r"target\[1\] must be a str, not int"),
    ],
)
def test_a_wrong_target_is_refused(target: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_targets(target)


@pytest.mark.parametrize("proxy", ["squid.local:3128", "http://squid.local:3128"])
def test_a_proxy_may_have_its_scheme(proxy: str) -> None:
    assert dict(proxy_options(proxy)) == {
        "grpc.enable_http_proxy": 1,
        "grpc.http_proxy": "http://squid.local:3128",
    }


def test_a_proxy_that_grpc_cannot_use_is_refused() -> None:
    with pytest.raises(ValueError, match="has the scheme 'socks5'"):
        proxy_options("socks5://squid.local:1080")


def test_an_api_key_is_sent_as_a_bearer_token_beside_other_metadata() -> None:
    assert with_api_key("secret", {"x-team": "a"}) == (("authorization", "Bearer secret"), ("x-team", "a"))
    assert with_api_key(None, {"x-team": "a"}) == {"x-team": "a"}


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
def test_a_wrong_api_key_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(ValueError, match="api_key must be printable ASCII") as caught:
        with_api_key(key, None)

    assert not key or key not in str(caught.value)


def test_an_api_key_and_an_authorization_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="api_key and an authorization in metadata exclude each other"):
        with_api_key("secret", [("authorization", "Basic eA==")])


def test_tls_true_is_a_tls_with_the_systems_roots() -> None:
    assert (tls_argument(True), tls_argument(False), tls_argument(None)) == (Tls(), None, None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"certificate": "client.pem"}, ValueError, "give both or neither"),
        ({"key": "client.key"}, ValueError, "give both or neither"),
        ({"ca": b"-----BEGIN"}, TypeError, "Tls.ca must be the path of a PEM file, not bytes"),
    ],
)
def test_a_wrong_tls_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Tls(**arguments)


def test_a_wrong_tls_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="tls must be a bool, not str"):
        tls_argument("yes")  # type: ignore[arg-type]
