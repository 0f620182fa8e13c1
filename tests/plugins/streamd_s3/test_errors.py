"""What the store's answers mean."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from streamd.api import Misconfigured, Permanent, Retryable
from streamd_s3.client import error_of, url_of


def answer(code: str, status: int, headers: dict[str, str] | None = None) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "said the store"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer("InternalError", 500), Retryable),
        (answer("ServiceUnavailable", 503), Retryable),
        (answer("XMinioStorageFull", 507), Retryable),
        (answer("SlowDown", 503), Retryable),
        (answer("SlowDown", 429), Retryable),
        (answer("RequestTimeout", 400), Retryable),
        (answer("BadDigest", 400), Retryable),
        (answer("OperationAborted", 409), Retryable),
        (answer("NoSuchBucket", 404), Misconfigured),
        (answer("AccessDenied", 403), Misconfigured),
        (answer("InvalidAccessKeyId", 403), Misconfigured),
        (answer("SignatureDoesNotMatch", 403), Misconfigured),
        (answer("RequestTimeTooSkewed", 403), Misconfigured),
        (answer("PermanentRedirect", 301), Misconfigured),
        (answer("ExpiredToken", 400), Misconfigured),
        (answer("NobodyHasHeardOfIt", 400), Misconfigured),
        (answer("EntityTooLarge", 400), Permanent),
        (answer("", 413), Permanent),
        (answer("KeyTooLongError", 400), Permanent),
        (answer("XMinioInvalidObjectName", 400), Permanent),
        (EndpointConnectionError(endpoint_url="http://x"), Retryable),
        (ConnectTimeoutError(endpoint_url="http://x"), Retryable),
        (ReadTimeoutError(endpoint_url="http://x"), Retryable),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), Retryable),
        (aiohttp.ServerDisconnectedError(), Retryable),
        (ConnectionResetError(), Retryable),
        (TimeoutError(), Retryable),
        (NoCredentialsError(), Misconfigured),
        (ParamValidationError(report="key is empty"), Permanent),
    ],
)
def test_classes(error: Exception, kind: type[Exception]) -> None:
    meaning = error_of(error)
    assert type(meaning) is kind
    assert str(meaning)


@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("soon", None), (None, None)])
def test_the_store_says_when_to_come_again(header: str | None, after: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    meaning = error_of(answer("SlowDown", 503, headers))
    assert isinstance(meaning, Retryable)
    assert meaning.after == after


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("", None),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://a:1", "http://a:1"),
        ("https://s3.example.com", "https://s3.example.com"),
    ],
)
def test_addresses(endpoint: str, url: str | None) -> None:
    assert url_of(endpoint) == url
