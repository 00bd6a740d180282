"""What settings say of themselves."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from pipeline.errors import StackError
from pipeline.settings import Settings, site_key


def test_the_site_key_is_thirty_two_bytes_of_hex() -> None:
    """Whoever names another is told what is wrong with it, and never what it was."""
    assert site_key(Settings(site_key=SecretStr("0f" * 32))) == b"\x0f" * 32
    for given, words in ((None, "no site key is set"), ("not hex " * 8, "not hexadecimal"), ("0f" * 16, "16 bytes, not 32")):
        with pytest.raises(StackError, match=words) as refused:
            site_key(Settings(site_key=None if given is None else SecretStr(given)))
        assert given is None or given not in f"{refused.value} {refused.value.remedy}"
