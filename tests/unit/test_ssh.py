"""The order of ciphers that a move asks ssh for."""

from __future__ import annotations

from guardian.host.ssh import aes_first

USUAL = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr"


def test_aes_comes_first_and_nothing_is_added() -> None:
    order = aes_first(USUAL, USUAL)
    assert order.startswith("aes128-gcm@openssh.com,chacha20")
    assert sorted(order.split(",")) == sorted(USUAL.split(","))


def test_an_order_of_the_user_stays() -> None:
    assert not aes_first("chacha20-poly1305@openssh.com,aes128-gcm@openssh.com", USUAL)


def test_what_is_not_known_or_first_already_is_left_alone() -> None:
    assert not aes_first("", "")
    assert not aes_first("chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com")
    assert not aes_first(USUAL[30:], USUAL[30:])
