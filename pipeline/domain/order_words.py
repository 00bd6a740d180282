"""The words of orders as numbers of buckets: what a site's model may learn of words that no list here names, in any language.

The hashing trick (Weinberger, 2009): nothing is looked up, so that nothing has to be kept of anybody's words, and a name falls into a
bucket with many others.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from zlib import crc32

from pipeline.domain import indications

BUCKETS = 1024
_WORD = re.compile(r"[^\W\d_]{2,}")


@lru_cache(maxsize=4096)
def buckets(*texts: str | None) -> tuple[int, ...]:
    """Which of BUCKETS these texts' words fall into, ascending, each once. Digits, case and accents count for nothing."""
    return tuple(sorted({crc32(word.encode()) % BUCKETS for text in texts if text for word in _words(text)}))


def _words(text: str) -> list[str]:
    apart = unicodedata.normalize("NFKD", indications.plain(text).casefold())
    return _WORD.findall("".join(one for one in apart if not unicodedata.combining(one)))
