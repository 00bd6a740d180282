"""HL7 v2.5.1 ORU^R01 over MLLP, without a PID: the PATIENT group is optional, and no identifier leaves in an alert.

MSH-10 is the step's key, the same on a resend, so that a receiver's own duplicate check knows it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.client import MllpClient
from pipeline.domain.escalation_policy import Channel
from pipeline.domain.radlex import CATEGORIES
from pipeline.errors import Unavailable
from pipeline.ports.escalation import Delivery, Notice

_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\n": "\\.br\\"})
"""HL7 v2.5.1 section 2.7."""


def message(notice: Notice) -> bytes:
    """The message, UTF-8 (MSH-18)."""
    at = f"{notice.at:%Y%m%d%H%M%S%z}"
    control = notice.key.replace("-", "")[:20]  # MSH-10 has 20 characters before v2.7
    code, words = CATEGORIES[notice.category]  # type: ignore[index]
    flag = "AA" if notice.category == 1 else "A"
    status = "W" if notice.kind == "withdrawn" else "P"  # never F: an alert must not close an order
    segments = [
        f"MSH|^~\\&|READFIRST||||{at}||ORU^R01^ORU_R01|{control}|P|2.5.1|||AL|NE||UNICODE UTF-8",
        f"OBR|1||{notice.key}^READFIRST|RFALERT^Readfirst alert^L|||{at}|||||||||||||||{at}||OTH|{status}",
        f"OBX|1|CWE|ACRCAT^Actionable finding category^L||{code}^{words}^RADLEX||||||{status}",
        f"OBX|2|TX|RFTEXT^Alert^L||{_text(notice.subject)}~{_text(notice.text)}|||{flag}|||{status}",
        f"OBX|3|ST|RFLINK^Open on the list^L||{_text(notice.link)}||||||{status}",
        f"OBX|4|ST|RFREPEAT^May have been sent before^L||{'Y' if notice.repeat else 'N'}||||||{status}",
    ]
    return ("\r".join(segments) + "\r").encode()


async def send(notice: Notice, channel: Channel) -> Delivery:
    """Waits for the accept acknowledgement."""
    address = urlsplit(channel.url)
    try:
        async with MllpClient(address.hostname or "", address.port or 2575, channel.timeout_s) as client:
            answers = acknowledgement.read(await client.send(message(notice)))
    except Unavailable as error:
        cause = error.__cause__
        return Delivery("refused" if isinstance(cause, ConnectionRefusedError) else "unknown", str(error))
    refused = [answer for answer in answers if answer.outcome == "refused"]
    return Delivery("refused", f"answered {refused[0].code}") if refused else Delivery("delivered")


def _text(text: str) -> str:
    return text.translate(_ESCAPES)
