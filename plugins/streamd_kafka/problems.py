"""What went wrong, in the pipeline's terms."""

from __future__ import annotations

import ssl

import aiokafka.errors as kafka
from aiokafka.conn import create_conn

from streamd.api import Misconfigured, Retryable, StreamdError
from streamd_kafka.settings import ConnectionConfig, client_options

_FOR_A_PERSON = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.ClusterAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.IllegalSaslStateError,
    kafka.IncompatibleBrokerVersion,
    kafka.InconsistentGroupProtocolError,
    kafka.InvalidGroupIdError,
    kafka.InvalidRequiredAcksError,
    kafka.InvalidSessionTimeoutError,
    kafka.InvalidTopicError,
    kafka.PolicyViolationError,
    kafka.SaslAuthenticationFailed,
    kafka.SecurityDisabled,
    kafka.TopicAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.UnknownTopicOrPartitionError,
    kafka.UnsupportedCodecError,
    kafka.UnsupportedSaslMechanismError,
    kafka.UnsupportedVersionError,
    kafka.UnsupportedForMessageFormatError,
    ssl.SSLError,
)


def classify(error: BaseException, doing: str) -> StreamdError:
    """`Misconfigured` where a person has to act, `Retryable` for everything else.

    What Kafka calls not retriable is, to its clients, the end of one request; all of it may pass
    for a pipeline that tries for days.
    """
    text = f"{doing}: {describe(error)}"
    return Misconfigured(text) if isinstance(error, _FOR_A_PERSON) else Retryable(text)


def describe(error: BaseException) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


async def explain(config: ConnectionConfig, error: BaseException, doing: str) -> StreamdError:
    """Like `classify`, for a client that could not start.

    The client logs why it could not talk to a broker and then says only that it could not, so a
    refused login looks like a broker that is down. Ask the first broker again to tell them apart.
    """
    if not isinstance(error, kafka.KafkaConnectionError):
        return classify(error, doing)
    options = client_options(config)
    del options["metadata_max_age_ms"]
    host, _, port = options.pop("bootstrap_servers")[0].rpartition(":")
    try:
        connection = await create_conn(host, int(port), **options)
    except (OSError, TimeoutError, kafka.KafkaError) as cause:
        return classify(cause, doing)
    connection.close()
    return classify(error, doing)
