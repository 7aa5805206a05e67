"""What looks like a secret is masked wherever it is shown without being asked for."""

from __future__ import annotations

import re

MASK = "********"

_NAMES = re.compile(
    r"(?i)(^|[^a-z])(pass(word|wd|phrase)?|pwd|secret|token|(api|access|private)[ _]?key|credentials?|auth|cookie"
    r"|session|jwt|bearer|dsn|salt|signature)([^a-z]|$)"
)
_IN_WORDS = re.compile(r"(?i)(password|passwd|passphrase|secret|token|apikey|credential)")
_OPTION = re.compile(r"(?s)(--?[A-Za-z0-9][A-Za-z0-9_.-]*)([=:])(.+)")
_ASSIGNMENT = re.compile(r"(?s)([A-Za-z_][A-Za-z0-9_.-]*)=(.*)")
_IN_URL = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]{0,32}://[^/\s:@]{0,255}:)(?P<secret>[^@\s\0/]{1,1024})(?P<after>@)",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{0,1024}"
    r"|\$(2[aby]|5|6|y|argon2id?)\$[./A-Za-z0-9$=,+-]{20,}",
    re.DOTALL,
)
"""Forms by which keys are known: PEM, AWS, GitHub, GitLab, Slack, OpenAI, JSON web tokens, crypt(5) hashes."""
# Every repetition has a bound: what is looked through is hostile, and may be long.
_IN_TEXT = re.compile(
    r"(?i)(?P<before>(password|passwd|passphrase|secret|token|api_?key|credential)[a-z0-9_.-]{0,64}[\"']?"
    r"\s{0,8}[=:]\s{0,8}[\"']?)(?P<secret>[^\s\0\"'&;,]{3,})"
)
_AUTHORIZATION = re.compile(
    r"(?i)(?P<before>authorization:\s{0,8}(basic|bearer|digest|token)\s{1,8})(?P<secret>\S+)"
)


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret, by the custom of its name."""
    return bool(_NAMES.search(name.replace("-", "_").replace("_", " ")) or _IN_WORDS.search(name))


def spans(text: str) -> list[tuple[int, int]]:
    """Where in free text something looks like a secret; in order, without overlaps."""
    found = [match.span() for match in _KNOWN.finditer(text)]
    for pattern in (_IN_URL, _AUTHORIZATION, _IN_TEXT):
        found += [match.span("secret") for match in pattern.finditer(text)]
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
    for begin, end in spans(data.decode("latin-1")):
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
