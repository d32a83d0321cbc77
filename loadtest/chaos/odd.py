"""Values that mean harm, as they stand in a JSON text; and where they are put.

A body is built as Python objects in which `hole(name)` stands for a value; `filled` writes it as
JSON and puts the bytes of ODD there, many of which no JSON library would write.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_HOLE: Final = re.compile(rb'"<<([^"<>]+)>>"')
SMALL: Final = 2_000  # bytes: what generated bodies are made of
_TEXT: Final = b'"%b"'

ODD: Final[dict[str, bytes]] = {
    "nothing": b"", "null": b"null", "true": b"true", "false": b"false",
    # numbers
    "0": b"0", "-0.0": b"-0.0", "-1": b"-1", "1.5": b"1.5", "7.0": b"7.0", "1e3": b"1e3",
    "NaN": b"NaN", "Infinity": b"Infinity", "-Infinity": b"-Infinity", "nan": b"nan",
    "1e999": b"1e999", "-1e999": b"-1e999", "1e308": b"1e308", "1e31": b"1e31",
    "1e-400": b"1e-400", "2^53+1": b"9007199254740993", "2^63": b"9223372036854775808",
    "-2^63-1": b"-9223372036854775809", "400 digits": b"9" * 400, "-400 digits": b"-" + b"9" * 400,
    "5,000 digits": b"9" * 5_000, "5,000 places": b"0." + b"3" * 5_000, "400-digit exponent":
    b"1e" + b"9" * 400, "leading zero": b"01", "plus": b"+1", "bare point": b".5", "hex": b"0x10",
    "two points": b"1.2.3", "minus": b"-",
    # text
    "empty text": b'""', "blank text": b'" "', "text": b'"text"', "number in text": b'"1"',
    "NaN in text": b'"NaN"', "high surrogate": b'"\\ud800"', "low surrogate": b'"\\udc00x"',
    "surrogates swapped": b'"\\udc00\\ud800"', "surrogate pair": b'"\\ud83d\\uded2"',
    "encoded surrogate": b'"\xed\xa0\x80"', "bad UTF-8": b'"\xff\xfe"', "overlong UTF-8":
    b'"\xc0\xaf"', "escaped NUL": b'"\\u0000"', "NUL": b'"\0"', "newline": b'"a\nb"',
    "escaped newlines": b'"a\\r\\nX-Evil: 1"', "bad escape": b'"\\x41"', "cut escape": b'"\\u12"',
    "open text": b'"abc', "single quotes": b"'a'", "right to left": '"\u202eabc"'.encode(),
    "combining": ('"e' + "\u0301" * 500 + '"').encode(), "path": b'"../../../etc/passwd"',
    "markup": b'"<script>alert(1)</script>"', "query": b'"\' OR 1=1 --"', "format":
    b'"%s%n{0}${x}"',
    "257 characters": _TEXT % (b"x" * 257), "10,000 characters": _TEXT % (b"x" * 10_000),
    "100,000 characters": _TEXT % (b"y" * 100_000), "word": b"undefined", "comment": b"1/*x*/",
    # lists
    "empty list": b"[]", "list in list": b"[[]]", "list of null": b"[null]", "list of NaN":
    b"[NaN]",
    "list of kinds": b'[1,"a",true,null,{},[]]', "list of two": b'["1","2"]', "trailing comma":
    b"[1,]", "no comma": b"[1 2]", "open list": b"[", "closed twice": b"[]]", "2,000 values":
    b"[" + b"1," * 1_999 + b"1]", "50,000 texts": b"[" + b'"z",' * 49_999 + b'"z"]',
    "50 deep": b"[" * 50 + b"]" * 50, "150 deep": b"[" * 150 + b"]" * 150,
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000, "100,000 open": b"[" * 100_000,
    # objects
    "empty object": b"{}", "empty key": b'{"":null}', "id alone": b'{"id":"1"}', "id twice":
    b'{"id":"1","id":2}', "id of NaN": b'{"id":NaN}', "columns": b'{"id":["1","2"],"score":[1]}',
    "proto": b'{"__proto__":{"x":1}}', "surrogate key": b'{"\\ud800":1}', "no value": b'{"a":}',
    "number as key": b"{1:2}", "trailing comma in object": b'{"a":1,}', "objects 10,000 deep":
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "10,000 keys":
    b"{" + b",".join(b'"%d":1' % n for n in range(10_000)) + b"}", "same key 10,000 times":
    b"{" + b'"a":1,' * 9_999 + b'"a":1}', "20,000 objects": b"[" + b"{}," * 19_999 + b"{}]",
}  # fmt: skip


def hole(name: str) -> str:
    """Stands for ODD[name] until `filled`."""
    return f"<<{name}>>"


def filled(body: Any) -> bytes:
    """As JSON, with the odd values in their places; Python's NaN and Infinity as they are."""
    text = json.dumps(body, separators=(",", ":")).encode()
    return _HOLE.sub(lambda found: ODD[found[1].decode()], text)
