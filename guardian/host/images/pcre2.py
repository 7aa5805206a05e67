"""Expressions over bytes, by PCRE2 with its just-in-time compiler; fixed strings too, it is the fastest at those.

Only the stable interface of libpcre2-8.so.0 is used (pcre2api(3)); numbers are those of pcre2.h.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

from guardian.model.errors import BadInput, GuardianError

MATCH_LIMIT = 10_000_000
"""Steps of one match (PCRE2's own default); the just-in-time compiler counts fewer things as one."""
_HEAP_LIMIT = 20_000
"""KiB that a match without the just-in-time compiler may take."""
_STACK = 32 << 10, 4 << 20
"""Bytes of the compiled expression's own stack: at first, at most."""

NOT_AT_BEGIN: Final = 0x01  # PCRE2_NOTBOL
NOT_AT_END: Final = 0x02  # PCRE2_NOTEOL
_NOT_EMPTY = 0x04
_NEVER_UCP, _NEVER_UTF, _LITERAL = 0x00000800, 0x00001000, 0x02000000
_JIT_COMPLETE = 1
_NO_MATCH = -1
_MAX_LOOKBEHIND = 15  # PCRE2_INFO_MAXLOOKBEHIND
_TOO_LONG = {-46: "its stack is full", -47: "too many steps", -53: "it is too deep", -63: "too much memory"}
_POINTER, _SIZE, _WORD = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32


def too_long(why: str) -> BadInput:
    """The error of an expression that could run for ever."""
    return BadInput("the expression takes too long", why, hint="write it without nested repetitions")


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libpcre2-8.so.0")
    except OSError as error:
        raise GuardianError("PCRE2 is missing", str(error), hint="install libpcre2-8-0") from error
    for name, result, arguments in (
        ("compile", _POINTER, (ctypes.c_char_p, _SIZE, _WORD, _POINTER, _POINTER, _POINTER)),
        ("jit_compile", ctypes.c_int, (_POINTER, _WORD)),
        ("pattern_info", ctypes.c_int, (_POINTER, _WORD, _POINTER)),
        ("get_error_message", ctypes.c_int, (ctypes.c_int, ctypes.c_char_p, _SIZE)),
        ("match_data_create", _POINTER, (_WORD, _POINTER)),
        ("match_data_free", None, (_POINTER,)),
        ("match_context_create", _POINTER, (_POINTER,)),
        ("match_context_free", None, (_POINTER,)),
        ("set_match_limit", ctypes.c_int, (_POINTER, _WORD)),
        ("set_heap_limit", ctypes.c_int, (_POINTER, _WORD)),
        ("jit_stack_create", _POINTER, (_SIZE, _SIZE, _POINTER)),
        ("jit_stack_assign", None, (_POINTER, _POINTER, _POINTER)),
        ("jit_stack_free", None, (_POINTER,)),
        ("code_free", None, (_POINTER,)),
        ("get_ovector_pointer", ctypes.POINTER(_SIZE), (_POINTER,)),
        ("match", ctypes.c_int, (_POINTER, _POINTER, _SIZE, _SIZE, _WORD, _POINTER, _POINTER)),
    ):
        function = getattr(library, f"pcre2_{name}_8")
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library


class Expression:
    """A compiled expression, or a fixed string. Shared by threads; each makes a `Matcher` of its own."""

    def __init__(self, pattern: bytes, *, fixed: bool = False) -> None:
        """Raises BadInput where the expression does not parse."""
        if not pattern:
            raise BadInput("there is nothing to search for", "the pattern is empty")
        self._library = _library()
        number, place = ctypes.c_int(), _SIZE()
        options = _LITERAL if fixed else _NEVER_UCP | _NEVER_UTF
        self.code = self._library.compile(
            pattern, len(pattern), options, ctypes.byref(number), ctypes.byref(place), None
        )
        if not self.code:
            raise BadInput(
                "the expression does not parse", f"{self._message(number.value)}, at byte {place.value}"
            )
        # Where it is not allowed (no memory may be written and run), PCRE2 interprets: slower, the same result.
        self._library.jit_compile(self.code, _JIT_COMPLETE)
        behind = _WORD()
        self._library.pattern_info(self.code, _MAX_LOOKBEHIND, ctypes.byref(behind))
        self.lookbehind = int(behind.value)
        """Bytes before a match that decide about it."""

    def _message(self, number: int) -> str:
        text = ctypes.create_string_buffer(256)
        self._library.get_error_message(number, text, len(text))
        return text.value.decode("ascii", "replace")

    def __del__(self) -> None:
        if getattr(self, "code", None):
            self._library.code_free(self.code)


class Matcher:
    """Finds matches of an expression, for one thread."""

    def __init__(self, expression: Expression) -> None:
        self._library = _library()
        self._expression = expression
        self._data = self._library.match_data_create(1, None)
        self._context = self._library.match_context_create(None)
        self._stack = self._library.jit_stack_create(*_STACK, None)
        if not (self._data and self._context and self._stack):
            raise MemoryError
        self._library.set_match_limit(self._context, MATCH_LIMIT)
        self._library.set_heap_limit(self._context, _HEAP_LIMIT)
        self._library.jit_stack_assign(self._context, None, self._stack)
        self._found = self._library.get_ovector_pointer(self._data)

    def find(self, address: int, length: int, start: int, options: int) -> tuple[int, int] | None:
        """Begin and end of the first match from `start` on in the bytes at an address of this process.

        Raises BadInput where the expression takes too long. A match of no length is none.
        """
        result = self._library.match(
            self._expression.code, address, length, start, options | _NOT_EMPTY, self._data, self._context
        )
        if result == _NO_MATCH:
            return None
        if result < 0:
            raise too_long(_TOO_LONG.get(result, f"PCRE2 says {result}"))
        return int(self._found[0]), int(self._found[1])

    def close(self) -> None:
        """Give everything back."""
        self._library.match_data_free(self._data)
        self._library.match_context_free(self._context)
        self._library.jit_stack_free(self._stack)
