"""The admin port's address, and the token that it needs where others reach it."""

import pytest

from streamd.api import Secret
from streamd.settings.admin import Address, check, is_loopback, parse_address
from streamd.settings.model import DaemonOptions
from streamd.settings.problems import Problems

TOKEN = Secret("sixteen-or-longer")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8001", Address("127.0.0.1", 8001)),
        (":8001", Address("127.0.0.1", 8001)),
        ("[::1]:8001", Address("::1", 8001)),
        ("localhost:1", Address("localhost", 1)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
    ],
)
def test_an_address(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "8001", "127.0.0.1", "127.0.0.1:", "a:b", "a:0", "a:65536", "::1:8001", "a:-1"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_address(text)


def test_what_only_this_machine_reaches() -> None:
    own = ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST."]
    others = ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "example", "", "::ffff:10.0.0.1"]
    assert all(map(is_loopback, own))
    assert not any(map(is_loopback, others))


def told(admin: str | None, token: Secret | None) -> list[str]:
    problems = Problems("streamd.toml", {})
    check(DaemonOptions(admin=admin, admin_token=token), problems)
    return [str(problem) for problem in problems.found]


@pytest.mark.parametrize(
    ("admin", "token"),
    [
        ("127.0.0.1:8001", None),
        ("[::1]:8001", Secret("")),
        ("0.0.0.0:8001", TOKEN),
        ("", None),
        (None, None),
    ],
)
def test_a_safe_admin_port(admin: str | None, token: Secret | None) -> None:
    assert told(admin, token) == []


@pytest.mark.parametrize("token", [None, Secret("")])
@pytest.mark.parametrize("admin", ["0.0.0.0:8001", "[::]:8001", "streamd.example:8001"])
def test_whoever_reaches_it_from_elsewhere_needs_a_token(admin: str, token: Secret | None) -> None:
    (problem,) = told(admin, token)
    assert problem.startswith(f"streamd.toml:1: streamd.admin: {admin} is not loopback")
    assert "Set admin_token" in problem


@pytest.mark.parametrize("token", ["short", "with a line\nbreak in it", "mit Ümläuten und lang"])
def test_a_token_that_is_no_good_is_refused_and_not_told(token: str) -> None:
    (problem,) = told("127.0.0.1:8001", Secret(token))
    assert problem == (
        "streamd.toml:1: streamd.admin_token: expected at least 16 printable ASCII characters"
    )


def test_an_address_that_is_none_is_told() -> None:
    (problem,) = told("nowhere", None)
    assert 'expected HOST:PORT such as "127.0.0.1:8001", got "nowhere"' in problem
