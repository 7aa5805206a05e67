"""What looks like a secret is masked wherever it is shown without being asked for."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterator

MASK = "********"
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_NAMES = re.compile(
    r"(?i)(^|[^a-z])(pass(word|wd|phrase)?|pwd|secret|token|(api|access|private)[ _]?key|credentials?|auth|cookie"
    r"|session|jwt|bearer|dsn|salt|signature)([^a-z]|$)"
)
_IN_WORDS = re.compile(r"(?i)(password|passwd|passphrase|secret|token|apikey|credential)")
_OPTION = re.compile(r"(?s)(--?[A-Za-z0-9][A-Za-z0-9_.-]*)([=:])(.+)")
_ASSIGNMENT = re.compile(r"(?s)([A-Za-z_][A-Za-z0-9_.-]*)=(.*)")


@dataclasses.dataclass(frozen=True)
class _Form:
    """A form of secrets: what it begins with, in small letters where `folded`, and what it is from there on.

    Literals are looked for first: ten to twenty times as fast as the patterns alone (random bytes, text, 1 MiB each).
    """

    begins: tuple[str, ...]
    pattern: re.Pattern[str]
    folded: bool = False


# Every repetition has a bound: what is looked through is hostile, and may be long.
_FORMS = (
    _Form(
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,64}PRIVATE KEY-----(?s:.*?)(-----END [A-Z ]{0,64}PRIVATE KEY-----|$)"
        ),
    ),
    _Form(("AKIA", "ASIA"), re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b")),
    _Form(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}")),
    _Form(("github_pat_",), re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,}")),
    _Form(("glpat-",), re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    _Form(("xoxa-", "xoxb-", "xoxr-", "xoxs-", "xoxp-"), re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    _Form(("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    _Form(
        ("eyJ",),
        re.compile(r"\beyJ[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{0,1024}"),
    ),
    _Form(
        ("$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$argon2"),
        re.compile(r"\$(2[aby]|5|6|y|argon2id?)\$[./A-Za-z0-9$=,+-]{20,}"),
    ),
    _Form(("://",), re.compile(r"(?<=[A-Za-z0-9+.-])://[^/\s:@]{0,255}:(?P<secret>[^@\s\0/]{1,1024})@")),
    _Form(
        ("authorization:",),
        re.compile(r"(?i)authorization:\s{0,8}(basic|bearer|digest|token)\s{1,8}(?P<secret>\S+)"),
        folded=True,
    ),
    _Form(
        ("password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "credential"),
        re.compile(
            r"[A-Za-z_]{5,10}[A-Za-z0-9_.-]{0,64}[\"']?\s{0,8}[=:]\s{0,8}[\"']?(?P<secret>[^\s\0\"'&;,]{3,})"
        ),
        folded=True,
    ),
)
"""PEM, AWS, GitHub, GitLab, Slack, OpenAI, JSON web tokens, crypt(5) hashes; URLs, headers, assignments."""


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret, by the custom of its name."""
    return bool(_NAMES.search(name.replace("-", "_").replace("_", " ")) or _IN_WORDS.search(name))


def _matches(form: _Form, text: str, folded: str) -> Iterator[re.Match[str]]:
    """Where a form is, for each of its beginnings in order and without overlaps."""
    looked_through = folded if form.folded else text
    for begin in form.begins:
        place = looked_through.find(begin)
        while place >= 0:
            found = form.pattern.match(text, place)
            if found:
                yield found
            place = looked_through.find(begin, found.end() if found else place + 1)


def spans(text: str) -> list[tuple[int, int]]:
    """Where in free text something looks like a secret; in order, without overlaps."""
    return _spans(text, text.lower() if text.isascii() else text.translate(_SMALL))


def _spans(text: str, folded: str) -> list[tuple[int, int]]:
    found = [
        match.span("secret" if "secret" in form.pattern.groupindex else 0)
        for form in _FORMS
        for match in _matches(form, text, folded)
    ]
    kept: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if kept and begin < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((begin, end))
    return kept


def masked(text: str) -> str:
    """Free text with what looks like a secret masked."""
    parts, last = [], 0
    for begin, end in spans(text):
        parts += [text[last:begin], MASK]
        last = end
    return "".join([*parts, text[last:]])


def covered(data: bytes) -> bytes:
    """Bytes with what looks like a secret as asterisks; every other byte stays, and stays where it is."""
    shown = bytearray(data)
    for begin, end in _spans(data.decode("latin-1"), data.lower().decode("latin-1")):
        shown[begin:end] = b"*" * (end - begin)
    return bytes(shown)


def masked_assignment(text: str) -> str:
    """`NAME=value` of an environment."""
    found = _ASSIGNMENT.fullmatch(text)
    if found and found[2] and is_secret(found[1]):
        return f"{found[1]}={MASK}"
    return masked(text)


def masked_arguments(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command line: `--password=x`, `--password x`, and what looks like a secret by itself."""
    found: list[str] = []
    hide = False
    for word in words:
        option = _OPTION.fullmatch(word)
        if hide and not word.startswith("-"):
            found.append(MASK)
        elif option and is_secret(option[1]):
            found.append(f"{option[1]}{option[2]}{MASK}")
        else:
            found.append(masked_assignment(word))
        hide = option is None and word.startswith("-") and is_secret(word.lstrip("-"))
    return tuple(found)
