"""Values of literal tokens, without `ast.literal_eval`: that is slow and warns about the user's invalid escapes."""

from __future__ import annotations

import re
import unicodedata

_ESCAPE = re.compile(
    r"\\(?:(\r\n|\r|\n)|([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^}]+)\}|(.))", re.DOTALL
)
_BYTES_ESCAPE = re.compile(rb"\\(?:(\r\n|\r|\n)|([0-7]{1,3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_SIMPLE_BYTES = {key.encode(): value.encode() for key, value in _SIMPLE.items()}


def string_value(token: str) -> str | bytes:
    """The value of one string or bytes token with its prefix and quotes. ValueError: an escape that Python refuses."""
    first = min(found for found in (token.find("'"), token.find('"')) if found >= 0)
    prefix = token[:first].lower()
    width = 3 if token[first : first + 3] in ("'''", '"""') and len(token) - first >= 6 else 1
    body = token[first + width : -width]
    if "\r" in body:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    raw = "r" in prefix or "\\" not in body
    if "b" in prefix:
        data = body.encode("ascii")
        return data if raw else _BYTES_ESCAPE.sub(_decode_bytes, data)
    return body if raw else _ESCAPE.sub(_decode, body)


def _decode(match: re.Match[str]) -> str:
    newline, octal, *hexadecimal, name, other = match.groups()
    if newline is not None:
        return ""
    if octal is not None:
        return chr(int(octal, 8))
    digits = hexadecimal[0] or hexadecimal[1] or hexadecimal[2]
    if digits is not None:
        return chr(int(digits, 16))
    if name is not None:
        try:
            return unicodedata.lookup(name)
        except KeyError:
            raise ValueError(f"unknown Unicode character name {name!r}") from None
    if other in "xuUN":
        raise ValueError(f"truncated \\{other} escape")
    return _SIMPLE.get(other, "\\" + other)


def _decode_bytes(match: re.Match[bytes]) -> bytes:
    newline, octal, digits, other = match.groups()
    if newline is not None:
        return b""
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if digits is not None:
        return bytes([int(digits, 16)])
    if other == b"x":
        raise ValueError("truncated \\x escape")
    return _SIMPLE_BYTES.get(other, b"\\" + other)


def integer_value(token: str) -> int:
    """The value of an integer token. ValueError: more digits than this Python converts."""
    return int(token.replace("_", ""), 10 if token.strip("0_") == "" else 0)


def float_value(token: str) -> float:
    """The value of a float token."""
    return float(token.replace("_", ""))


def imaginary_value(token: str) -> complex:
    """The value of an imaginary token such as `2.5j`."""
    return complex(0.0, float(token[:-1].replace("_", "")))
