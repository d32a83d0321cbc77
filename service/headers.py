"""Headers that every answer carries: nothing is guessed, framed, referred to, or kept in a cache.

An answer that has a content-security-policy of its own (the page, /docs) is left as it is.
Strict-Transport-Security is not among them: it belongs to whoever terminates TLS, and this service
speaks plain HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

Header = tuple[bytes, bytes]

_POLICY: Final = "content-security-policy"
_CDN: Final = "https://cdn.jsdelivr.net"  # where FastAPI's /docs takes its script and style from
_CLOSED: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def _headers(policy: str, cache: str) -> dict[str, str]:
    return {
        _POLICY: policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": cache,
    }


PAGE: Final = _headers(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    f"{_CLOSED}",
    "no-cache",
)
DATA: Final = _headers(f"default-src 'none'; {_CLOSED}", "no-store")
_DATA: Final = tuple((name.encode(), value.encode()) for name, value in DATA.items())


def with_security(headers: Sequence[Header]) -> list[Header]:
    """An answer's headers and those of DATA, where it has none of its own."""
    for name, _ in headers:
        if name == b"content-security-policy":
            return [*headers]
    return [*headers, *_DATA]


def of_docs(html: str) -> dict[str, str]:
    """For Swagger's page: its own script is known by its hash, the rest comes from one host."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    own = " ".join(f"'sha256-{_hash(one)}'" for one in scripts)
    return _headers(
        f"default-src 'none'; script-src {_CDN} {own}; style-src {_CDN} 'unsafe-inline'; "
        f"img-src 'self' data:; connect-src 'self'; {_CLOSED}",
        "no-cache",
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
