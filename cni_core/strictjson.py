"""JSON in and out for the per-pod path, where importing json (with re and enum) would cost more than the whole call.

RFC 8259 to the letter: no NaN, no trailing comma, no byte order mark, no lone surrogate, UTF-8 only. Limits on size and
depth, because configurations come from people and programs that are not trusted.
"""

from __future__ import annotations

MAX_BYTES = 1 << 20
MAX_BYTES_WITH_RESULT = 8 << 20  # of a configuration with the prevResult that an ADD of MAX_BYTES can have given
MAX_DEPTH = 100
_VALUES = 2  # the limit on values is that on bytes, shifted by so much: none that is of use takes less than four

_WHITESPACE = " \t\n\r"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
# A control character must be escaped (RFC 8259, 7); the others are what json.dumps escapes with ensure_ascii=False.
_UNESCAPED_ALLOWED_FROM = " "
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def loads(data: bytes, limit: int = MAX_BYTES) -> object:
    """The value of a JSON text in UTF-8: dict, list, str, int, float, bool or None.

    A repeated member name keeps its last value, as in Go's and Python's json. ValueError
    says where the text is not JSON (line and column, from 1) and why.
    """
    if len(data) > limit:
        raise ValueError(f"longer than {limit} bytes")
    # As many values there are at most. Each takes twenty times the room that it has in the text, if it is [].
    if sum(map(data.count, (b",", b"[", b"{"))) > limit >> _VALUES:
        raise ValueError(f"more than {limit >> _VALUES} commas and brackets")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    value, end = _value(text, 0, 0)
    end = _skip(text, end)
    if end != len(text):
        raise _error(text, end, "more text after the value")
    return value


def dumps(value: object) -> bytes:
    """The shortest JSON text of a value, in UTF-8. Raises TypeError for a value that JSON does not have.

    Half of a surrogate pair, as in the name of a link that is not UTF-8, becomes a question mark.
    """
    return _text(value).encode(errors="replace")


def _error(text: str, at: int, why: str) -> ValueError:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return ValueError(f"line {line}, column {column}: {why}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITESPACE:
        at += 1
    return at


# Every call pays for this. Most texts come from programs, which put no whitespace between the parts: it is looked for
# where something else is not what it must be.


def _value(text: str, at: int, depth: int) -> tuple[object, int]:
    """The value at a place, or behind the whitespace there; the place behind it."""
    char = text[at : at + 1]
    if char == '"':
        return _string(text, at + 1)
    if char == "{" or char == "[":
        if depth == MAX_DEPTH:
            raise _error(text, at, f"nested deeper than {MAX_DEPTH} levels")
        return _object(text, at + 1, depth + 1) if char == "{" else _array(text, at + 1, depth + 1)
    if char == "-" or char in _DIGITS:
        return _number(text, at)
    if char in _LITERALS:
        word, value = _LITERALS[char]
        if text.startswith(word, at):
            return value, at + len(word)
    after = _skip(text, at)
    if after > at:
        return _value(text, after, depth)
    raise _error(text, at, "a value is expected")


def _object(text: str, at: int, depth: int) -> tuple[dict[str, object], int]:
    members: dict[str, object] = {}
    at = _skip(text, at)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        if text[at : at + 1] != '"':
            at = _skip(text, at)
            if text[at : at + 1] != '"':
                raise _error(text, at, "a member name in double quotes is expected")
        name, at = _string(text, at + 1)
        if text[at : at + 1] != ":":
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                raise _error(text, at, "':' is expected")
        members[name], at = _value(text, at + 1, depth)
        if text[at : at + 1] == ",":
            at += 1
            continue
        at, more = _separator(text, at, "}")
        if not more:
            return members, at


def _array(text: str, at: int, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        item, at = _value(text, at, depth)
        items.append(item)
        if text[at : at + 1] == ",":
            at += 1
            continue
        at, more = _separator(text, at, "]")
        if not more:
            return items, at


def _separator(text: str, at: int, close: str) -> tuple[int, bool]:
    """Past a comma (and whether there is more), or past the closing bracket, behind whitespace."""
    at = _skip(text, at)
    char = text[at : at + 1]
    if char == ",":
        return at + 1, True
    if char == close:
        return at + 1, False
    raise _error(text, at, f"',' or '{close}' is expected")


def _string(text: str, at: int) -> tuple[str, int]:
    end = text.find('"', at)
    whole = text[at:end]
    if end >= 0 and whole.isprintable() and "\\" not in whole:
        return whole, end + 1
    return _unescaped(text, at)


def _unescaped(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    end = at - 1
    while True:
        if end < at:
            end = text.find('"', at)
        if end < 0:
            raise _error(text, len(text), "the string has no end")
        escape = text.find("\\", at, end)
        stop = end if escape < 0 else escape
        part = text[at:stop]
        if part and min(part) < _UNESCAPED_ALLOWED_FROM:
            raise _error(text, at, "a control character in a string must be escaped")
        parts.append(part)
        if escape < 0:
            return "".join(parts), end + 1
        char, at = _escape(text, escape + 1)
        parts.append(char)


def _escape(text: str, at: int) -> tuple[str, int]:
    char = text[at : at + 1]
    if char in _ESCAPES:
        return _ESCAPES[char], at + 1
    if char != "u":
        raise _error(text, at, "unknown escape in a string")
    code = _code_unit(text, at + 1)
    at += 5
    if 0xD800 <= code < 0xDC00 and text[at : at + 2] == "\\u":
        low = _code_unit(text, at + 2)
        if 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), at + 6
    if 0xD800 <= code < 0xE000:
        raise _error(text, at, "half of a surrogate pair in a string")
    return chr(code), at


def _code_unit(text: str, at: int) -> int:
    digits = text[at : at + 4]
    if len(digits) != 4 or not _HEX.issuperset(digits):
        raise _error(text, at, "four hexadecimal digits are expected after \\u")
    return int(digits, 16)


def _number(text: str, at: int) -> tuple[int | float, int]:
    start = at
    at += text[at] == "-"
    if text[at : at + 1] == "0":
        at += 1
    else:
        at = _digits(text, at)
    integer_end = at
    if text[at : at + 1] == ".":
        at = _digits(text, at + 1)
    if text[at : at + 1] in ("e", "E"):
        at += 1
        at = _digits(text, at + (text[at : at + 1] in ("+", "-")))
    digits = text[start:at]
    try:
        if at == integer_end:
            return int(digits), at
        number = float(digits)
    except ValueError:  # Python's own limit on the length of an integer
        raise _error(text, start, "the number is too long") from None
    if number in (float("inf"), float("-inf")):
        raise _error(text, start, "the number is too large")
    return number, at


def _digits(text: str, at: int) -> int:
    start = at
    while text[at : at + 1] in _DIGITS:
        at += 1
    if at == start:
        raise _error(text, at, "a digit is expected")
    return at


def _text(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int) or (isinstance(value, float) and value - value == 0):  # neither infinite nor NaN
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join([_quoted(name) + ":" + _text(member) for name, member in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    raise TypeError(f"{value!r} has no JSON form")


def _quoted(string: str) -> str:
    if '"' in string or "\\" in string or not string.isprintable():
        string = "".join([_ESCAPED.get(char) or _character(char) for char in string])
    return f'"{string}"'


def _character(char: str) -> str:
    return f"\\u{ord(char):04x}" if char < _UNESCAPED_ALLOWED_FROM else char
