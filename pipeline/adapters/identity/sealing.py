"""Authenticated encryption of direct identifiers, each sealed to the row that it belongs to."""

from __future__ import annotations

import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import StackError
from pipeline.ports import Identity

_FORMAT = b"\x01"
_NONCE = 12  # bytes, NIST SP 800-38D section 8.2
_identity = msgspec.json.Decoder(Identity)


class Sealer:
    """AES-256-GCM under a key derived from the site key (HKDF, RFC 5869): the key of the pseudonyms itself encrypts nothing."""

    def __init__(self, site_key: bytes) -> None:
        if len(site_key) < 16:
            raise StackError("the site key is shorter than 16 bytes", "set READFIRST_SITE_KEY to 32 random bytes, hexadecimal")
        self._cipher = AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"readfirst identity vault 1").derive(site_key))

    def seal(self, row: str, text: bytes) -> bytes:
        """`row` is bound in: a sealed value moved to another row does not open."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, text, row.encode())

    def unseal(self, row: str, sealed: bytes) -> bytes:
        """Raises StackError when the key is not the one it was sealed with, or the bytes were changed."""
        try:
            if sealed[:1] != _FORMAT:
                raise InvalidTag
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], row.encode())
        except InvalidTag:
            raise StackError(
                "an identity does not open with this site key", "use the site key that this database was filled with"
            ) from None

    def seal_identity(self, identity: Identity) -> bytes:
        """Bound to its pseudonym."""
        return self.seal(f"identity/{identity.pseudonym}", msgspec.json.encode(identity))

    def unseal_identity(self, pseudonym: str, sealed: bytes) -> Identity:
        """As unseal."""
        return _identity.decode(self.unseal(f"identity/{pseudonym}", sealed))

    def seal_number(self, pseudonym: str, number: str) -> bytes:
        """Bound to its pseudonym."""
        return self.seal(f"number/{pseudonym}", number.encode())

    def unseal_number(self, pseudonym: str, sealed: bytes) -> str:
        """As unseal."""
        return self.unseal(f"number/{pseudonym}", sealed).decode()
