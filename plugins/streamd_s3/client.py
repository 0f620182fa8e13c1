"""The connection to the store, and what its errors mean. Imported when a sink is entered, as the
library behind it takes half a second to load."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

import aioboto3
from aiohttp import ClientError as HttpError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as TransportError

from streamd.api import Misconfigured, Permanent, Retryable, StreamdError

FAILURES = (BotoCoreError, ClientError, HttpError, OSError, TimeoutError)
"""What a call may raise; `error_of` says what it means."""

_TRANSPORT = (TransportError, HTTPClientError, IncompleteReadError)

# What says that this one object will not do. Any other refusal is for a person: nobody knows
# whether the next object would fare better, and to reject them all would be worse than to wait.
_OF_THE_OBJECT = {
    "EntityTooLarge",
    "InvalidObjectName",
    "InvalidURI",
    "KeyTooLong",
    "KeyTooLongError",
    "XMinioInvalidObjectName",
    "XMinioObjectNameTooLong",
}
_PASSING = {
    "BadDigest",
    "IncompleteBody",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_PASSING_STATUS = {408, 409, 425, 429}


def connect(
    *,
    endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
    path_style: bool,
    connections: int,
    timeout: float,
) -> AbstractAsyncContextManager[Any]:
    """A client, to be entered once. Without an endpoint Amazon's own is meant, without keys those
    of the environment.

    Raises Misconfigured if it cannot be built so.
    """
    config = Config(
        s3={"addressing_style": "path" if path_style else "virtual"},
        # Servers other than Amazon's refuse the checksums that are sent by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=connections,
        connect_timeout=min(5.0, timeout),
        read_timeout=timeout,
    )
    try:
        client: AbstractAsyncContextManager[Any] = _session(region, access_key, secret_key).client(
            "s3", endpoint_url=url_of(endpoint), config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise Misconfigured(str(error)) from error
    return client


@cache
def _session(region: str, access_key: str, secret_key: str) -> aioboto3.Session:
    """Each session reads the library's description of S3 anew, a tenth of a second."""
    return aioboto3.Session(
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        region_name=region,
    )


def url_of(endpoint: str) -> str | None:
    """`host:port` alone means http; nothing means Amazon's own."""
    if not endpoint:
        return None
    return endpoint if "://" in endpoint else f"http://{endpoint}"


def error_of(error: Exception) -> StreamdError:
    """What a failed call means for the batch. Permanent: this object can never be stored."""
    if isinstance(error, ClientError):
        return _answer(error.response)
    message = str(error) or type(error).__name__
    if isinstance(error, ParamValidationError):
        return Permanent(message)
    if isinstance(error, BotoCoreError) and not isinstance(error, _TRANSPORT):
        return Misconfigured(message)  # no credentials, no such region, a broken endpoint
    return Retryable(message)


def _answer(response: Mapping[str, Any]) -> StreamdError:
    answer, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = answer.get("Code", ""), meta.get("HTTPStatusCode", 0)
    message = f"{code}: {answer.get('Message', '')}"
    if code in _OF_THE_OBJECT or status == 413:
        return Permanent(message)
    if code in _PASSING or status in _PASSING_STATUS or status >= 500:
        return Retryable(message, after=_seconds(meta.get("HTTPHeaders", {}).get("retry-after")))
    return Misconfigured(message)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
