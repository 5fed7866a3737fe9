"""Who answers at an address: a broker, something else, or nobody. For messages; clients only know that nothing came."""

from __future__ import annotations

import enum
import socket
import ssl
import struct
from typing import NamedTuple

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_CORRELATION = 0x5A1E
_ASK = struct.pack(">hhih", 18, 0, _CORRELATION, -1)  # ApiVersions, version 0, without a client's name
_REQUEST = struct.pack(">i", len(_ASK)) + _ASK
_HEADER_BYTES = 8
_SHOWN_BYTES = 40


class Who(enum.Enum):
    """What an address answers."""

    NOBODY = "nobody"
    SILENT = "silent"
    """It takes connections and says nothing: a process that hangs, or waits for something else."""
    HUNG_UP = "hung up"
    KAFKA = "Kafka"
    TLS = "TLS"
    NO_TLS = "no TLS"
    UNTRUSTED = "untrusted"
    OTHER = "other"


class Found(NamedTuple):
    """Who it is, and what it said or what is wrong with it."""

    who: Who
    said: str = ""


def probe(address: str, context: ssl.SSLContext | None = None) -> Found:
    """Connect to ``host:port``, over TLS where a context is given, and ask as a Kafka client asks first."""
    host, _, port = address.strip().rpartition(":")
    host = host.strip("[]")
    try:
        connection = socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, OverflowError) as error:
        return Found(Who.NOBODY, str(error))
    with connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname=host)
            connection.sendall(_REQUEST)
            return _judge(connection.recv(4096))
        except TimeoutError:
            return Found(Who.SILENT)
        except ssl.SSLCertVerificationError as error:
            return Found(Who.UNTRUSTED, error.verify_message)
        except ssl.SSLError as error:
            return Found(Who.NO_TLS, error.reason or str(error))
        except OSError as error:
            return Found(Who.HUNG_UP, str(error))
        finally:
            connection.close()


def _judge(answer: bytes) -> Found:
    if not answer:
        return Found(Who.HUNG_UP)
    if len(answer) >= _HEADER_BYTES:
        length, correlation = struct.unpack(">ii", answer[:_HEADER_BYTES])
        if correlation == _CORRELATION and length > 0:
            return Found(Who.KAFKA)
    if answer[0] in {0x15, 0x16} and answer[1:2] == b"\x03":  # an alert, or a handshake
        return Found(Who.TLS)
    return Found(Who.OTHER, answer[:_SHOWN_BYTES].decode("ascii", "backslashreplace"))
