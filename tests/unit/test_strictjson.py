"""cni_core.strictjson against the standard library's json, which it stands in for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import event, example, given, strategies as st

from cni_core.strictjson import MAX_BYTES, MAX_BYTES_WITH_RESULT, MAX_DEPTH, dumps, loads
from tests.unit.strategies import json_values, mutated

JSON_CHARACTERS = '{}[],:"\\/bfnrtu0123456789abcdefABCDEF+-.eE \t\n\r\x00\x1f\x7f\ufeffé😀NIl'
json_texts = st.builds(json.dumps, json_values, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 0, 2, "\t"]))


class Pairs(list[Any]):
    """An object's members, repeated ones included."""


def stdlib_loads(data: bytes) -> object:
    """What json makes of the text, ValueError for what loads refuses on purpose."""
    if len(data) > MAX_BYTES:
        raise ValueError("too long")

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not in RFC 8259")

    text = data.decode()
    refuse_more(json.loads(text, parse_constant=refuse, object_pairs_hook=Pairs))
    return json.loads(text)


def refuse_more(value: Any, depth: int = 0) -> None:
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError: lone surrogates
    elif isinstance(value, float) and abs(value) == float("inf"):
        raise ValueError("too large")
    elif isinstance(value, list):
        if depth == MAX_DEPTH:
            raise ValueError("too deep")
        for item in value:
            refuse_more(item, depth + 1)
    elif isinstance(value, tuple):  # one of Pairs
        for item in value:
            refuse_more(item, depth)


def both(data: bytes) -> None:
    """Both readers give the same value, or both refuse. repr tells 1, 1.0 and True apart, and 0.0 from -0.0."""
    try:
        expected = repr(stdlib_loads(data))
    except ValueError:
        event("refused")
        with pytest.raises(ValueError):
            loads(data)
    else:
        event("accepted")
        assert repr(loads(data)) == expected


@given(json_texts)
def test_reads_whatever_json_writes(text: str) -> None:
    assert repr(loads(text.encode())) == repr(json.loads(text))


@given(json_values)
def test_writes_what_json_writes_in_its_shortest_form(value: Any) -> None:
    assert dumps(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    assert repr(loads(dumps(value))) == repr(value)


@given(mutated(json_texts, JSON_CHARACTERS))
@example('{"a":1,"a":{"b":"\\ud800"}}')
@example('{"a":"\\ud800","a":1}')
@example("[1,]")
@example('{"a":1,}')
@example('"\\ud83d\\ude00"')
@example('"\\uD83D\\uDE00"')
@example('"\\ud83d\\ud83d\\ude00"')
@example('"\\ude00\\ud83d"')
@example('"\\ud83d\\u0041"')
def test_accepts_a_mutated_text_where_json_does(text: str) -> None:
    both(text.encode())


@given(st.text(JSON_CHARACTERS, max_size=12) | st.text())
def test_accepts_any_text_where_json_does(text: str) -> None:
    both(text.encode())


@given(st.text("0123456789-+.eE", min_size=1, max_size=8))
@example("-0")
@example("-")
@example("01")
@example("1.")
@example("1e")
@example("1e400")
@example("-1e400")
@example("1e-400")
@example("1" * 5000)
def test_accepts_a_number_where_json_does(text: str) -> None:
    both(text.encode())


@given(
    st.binary(max_size=30) | st.tuples(json_texts, st.binary(max_size=3)).map(lambda both: both[0].encode() + both[1])
)
def test_accepts_any_bytes_where_json_does_if_they_are_utf_8(data: bytes) -> None:
    both(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1, column 1: a value is expected"),
        (b" \n ", "line 2, column 2: a value is expected"),
        (b"{} x", "line 1, column 4: more text after the value"),
        (b"[1,\n 2,\n]", "line 3, column 1: a value is expected"),
        (b'{"a":1,}', "line 1, column 8: a member name in double quotes is expected"),
        (b"{a:1}", "line 1, column 2: a member name in double quotes is expected"),
        (b'{"a" 1}', "line 1, column 6: ':' is expected"),
        (b'{"a": 1 "b"', "line 1, column 9: ',' or '}' is expected"),
        (b"[1 2]", "line 1, column 4: ',' or ']' is expected"),
        (b'["abc', "line 1, column 6: the string has no end"),
        (b'\n"\\x"', "line 2, column 3: unknown escape in a string"),
        (b'"\\u12g4"', "line 1, column 4: four hexadecimal digits are expected after \\u"),
        (b"NaN", "line 1, column 1: a value is expected"),
        (b"-Infinity", "line 1, column 2: a digit is expected"),
        (b"[1e400]", "line 1, column 2: the number is too large"),
        (b"[" + b"1" * 5000 + b"]", "line 1, column 2: the number is too long"),
        ("é[".encode(), "line 1, column 1: a value is expected"),
        ('["é", x]'.encode(), "line 1, column 7: a value is expected"),
        (b'"\xff"', "byte 2 is not UTF-8"),
        (b'"\xed\xa0\x80"', "byte 2 is not UTF-8"),
        ("\ufeff{}".encode(), "line 1, column 1: a value is expected"),
        ("{}".encode("utf-16"), "byte 1 is not UTF-8"),
        (b" " * (MAX_BYTES + 1), f"longer than {MAX_BYTES} bytes"),
    ],
)
def test_says_where_a_text_is_wrong_and_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        loads(data)


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '"\\ud800\\ud800"', '"\\ud800x"'])
def test_refuses_half_of_a_surrogate_pair(text: str) -> None:
    with pytest.raises(ValueError, match=r"^line 1, column \d+: half of a surrogate pair in a string$"):
        loads(text.encode())


@given(st.sampled_from([chr(n) for n in range(0x20)]), st.text(st.characters(min_codepoint=0x30, max_codepoint=0x7A)))
def test_refuses_a_control_character_that_is_not_escaped(control: str, around: str) -> None:
    around = around.replace("\\", "")
    with pytest.raises(ValueError, match="a control character in a string must be escaped"):
        loads(f'"{around}{control}{around}"'.encode())


@given(mutated(json_texts, JSON_CHARACTERS))
def test_points_into_the_text_where_it_is_wrong(text: str) -> None:
    try:
        loads(text.encode())
    except ValueError as error:
        found = re.match(r"line (\d+), column (\d+): ", str(error))
        assert found, error
        line, column = int(found[1]), int(found[2])
        assert 1 <= column <= len(text.split("\n")[line - 1]) + 1


def test_accepts_a_hundred_levels_and_refuses_one_more() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deepest = opening * (MAX_DEPTH - 1) + "[]" + closing * (MAX_DEPTH - 1)
        assert dumps(loads(deepest.encode())) == deepest.encode()
        with pytest.raises(ValueError, match=r"^line 1, column \d+: nested deeper than 100 levels$"):
            loads((opening + deepest + closing).encode())


@pytest.mark.parametrize("piece", ["[", '{"a":', '[{"a":', "[[],", '{"":[],"":{"":'])
def test_a_text_of_a_megabyte_of_brackets_is_refused_not_recursed_into(piece: str) -> None:
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        loads(piece.encode() * (MAX_BYTES // len(piece)), MAX_BYTES_WITH_RESULT)


@pytest.mark.parametrize("piece", [b"\\n", b"\\u00e9", b"x", b"\\\\", "é".encode()])
@pytest.mark.parametrize("end", [b'"', b""])
def test_a_string_of_a_megabyte_is_read(piece: bytes, end: bytes) -> None:
    data = b'"' + piece * ((MAX_BYTES - 2) // len(piece)) + end
    if end:
        assert loads(data) == json.loads(data)
    else:
        with pytest.raises(ValueError):
            loads(data)


def test_accepts_a_text_of_exactly_the_greatest_size() -> None:
    assert loads(b"1".ljust(MAX_BYTES)) == 1


def test_a_repeated_member_keeps_its_last_value_in_its_first_place() -> None:
    assert list(loads(b'{"a":1,"b":2,"a":3}').items()) == [("a", 3), ("b", 2)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", [b"bytes", {1}, object(), {"a": [object()]}, {1: 2}, float("nan"), float("inf"), [float("-inf")]]
)
def test_writing_what_json_cannot_hold_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_text_from_outside_that_was_not_utf_8_is_written_as_valid_json() -> None:
    # The name of a link is any bytes (decoded with surrogateescape), and errors repeat it.
    name = b"eth\xff".decode("utf-8", "surrogateescape")
    assert json.loads(dumps({"msg": name})) == {"msg": "eth?"}


def test_more_values_than_fit_into_memory_are_refused() -> None:
    most = MAX_BYTES // 4
    assert loads(b"[" + b"1," * (most - 2) + b"1]") == [1] * (most - 1)
    with pytest.raises(ValueError, match="more than 262144 commas and brackets"):
        loads(b"[" + b"1," * most + b"1]")
    with pytest.raises(ValueError, match="more than 262144 commas and brackets"):
        loads(b'{"a":[' * 45_000 + b"[]" * 180_000)
    assert loads(b"[" + b"1," * most + b"1]", MAX_BYTES_WITH_RESULT) == [1] * (most + 1)
