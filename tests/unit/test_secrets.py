"""What looks like a secret is masked, what does not stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.secrets import MASK, covered, is_secret, masked, masked_arguments, masked_assignment


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "DB_PASSWORD", "POSTGRES_PASSWORD_FILE", "dbPassword", "API_KEY", "apikey", "AWS_SECRET_ACCESS_KEY",
     "GITHUB_TOKEN", "--auth-token", "PGPASSWORD", "MY_PWD", "private-key", "SESSION_COOKIE"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "HOSTNAME", "AUTHOR", "KEYBOARD", "TOKYO", "PORT", "LANG", "COMPASS"]
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:hunter2@db/shop",
        "Authorization: Bearer hunter2",
        "password=hunter2",
        '{"api_key": "hunter2"}',
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2 and no end",
        "token: hunter2",
    ],
)
def test_secrets_in_text(text: str) -> None:
    shown = masked(text)
    assert "hunter2" not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "A" * 16,
        "ghp_" + "a" * 36,
        "xoxb-1234567890-abc",
        "sk-" + "a" * 24,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    ],
)
def test_keys_by_their_form(key: str) -> None:
    assert key not in masked(f"x {key} y")


@pytest.mark.parametrize(
    "text", ["PATH=/usr/bin:/bin", "https://host:8080/path", "GET / HTTP/1.1", "a=b", ""]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked_assignment(text) == text
    assert masked(text) == text


def test_an_environment() -> None:
    assert masked_assignment("DB_PASSWORD=hunter2") == f"DB_PASSWORD={MASK}"
    assert masked_assignment("DB_PASSWORD=") == "DB_PASSWORD="
    assert masked_assignment("URL=redis://:hunter2@cache") == f"URL=redis://:{MASK}@cache"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("db", "--password=hunter2"), ("db", f"--password={MASK}")),
        (("db", "--password", "hunter2", "x"), ("db", "--password", MASK, "x")),
        (("db", "--token", "--verbose"), ("db", "--token", "--verbose")),
        (("env", "TOKEN=hunter2"), ("env", f"TOKEN={MASK}")),
        (("redis-server", "--port", "6379"), ("redis-server", "--port", "6379")),
    ],
)
def test_a_command_line(words: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert masked_arguments(words) == shown


@given(
    st.binary(), st.sampled_from([b"password=hunter2", b"db://me:hunter2@", b"token: hunter2 "]), st.binary()
)
def test_bytes_keep_their_places(before: bytes, secret: bytes, after: bytes) -> None:
    data = before + b" " + secret + b" " + after
    shown = covered(data)
    assert len(shown) == len(data)
    assert b"hunter2" not in shown[len(before) : len(before) + len(secret) + 2]
    assert covered(after) == after or b"*" in covered(after)


@pytest.mark.parametrize(
    "piece", ["a", "a.", "eyJ", "token", "token ", "a://", "a://b:", "-----BEGIN X PRIVATE KEY-----"]
)
def test_long_text_takes_no_long_time(piece: str) -> None:
    """Work that grows with the square of the length would take a minute here."""
    masked(piece * (200_000 // len(piece)))


@given(st.text())
def test_any_text_goes_through(text: str) -> None:
    assert masked(masked(text)) == masked(text)
    masked_assignment(text)
    masked_arguments((text, text))


def test_letters_that_are_longer_when_small_move_nothing() -> None:
    assert masked("İİ PASSWORD=hunter22 İ") == f"İİ PASSWORD={MASK} İ"
    assert covered("\u00c9 ToKeN: hunter22".encode("latin-1")) == "\u00c9 ToKeN: ********".encode("latin-1")
