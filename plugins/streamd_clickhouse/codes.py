"""What a ClickHouse error code means for the batch that met it, as data.

A code in no table means `Permanent`: most of ClickHouse's codes are complaints about data, many
of them raised by a materialized view on one bad row, and the engine finds such a row by halving
the batch.
"""

from __future__ import annotations

from streamd.api import Misconfigured, Permanent, Retryable, StreamdError

RETRYABLE = {
    3: "UNEXPECTED_END_OF_FILE",
    49: "LOGICAL_ERROR",
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    77: "CANNOT_CLOSE_FILE",
    95: "CANNOT_READ_FROM_SOCKET",
    96: "CANNOT_WRITE_TO_SOCKET",
    101: "UNEXPECTED_PACKET_FROM_CLIENT",
    102: "UNEXPECTED_PACKET_FROM_SERVER",
    103: "RECEIVED_DATA_FOR_WRONG_QUERY_ID",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    173: "CANNOT_ALLOCATE_MEMORY",
    198: "DNS_ERROR",
    201: "QUOTA_EXPIRED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    204: "CANNOT_FSYNC",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    218: "TABLE_IS_DROPPED",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    244: "UNEXPECTED_ZOOKEEPER_ERROR",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    335: "BARRIER_TIMEOUT",
    364: "RECEIVED_ERROR_TOO_MANY_REQUESTS",
    373: "SESSION_IS_LOCKED",
    394: "QUERY_WAS_CANCELLED",
    424: "CANNOT_LINK",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    499: "S3_ERROR",
    530: "CANNOT_CONNECT_RABBITMQ",
    571: "DATABASE_REPLICATION_FAILED",
    593: "ZERO_COPY_REPLICATION_ERROR",
    692: "TOO_MANY_MUTATIONS",
    722: "ASYNC_LOAD_WAIT_FAILED",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1001: "STD_EXCEPTION",
    1002: "UNKNOWN_EXCEPTION",
}

MISCONFIGURED = {
    8: "THERE_IS_NO_COLUMN",
    10: "NOT_FOUND_COLUMN_IN_BLOCK",
    16: "NO_SUCH_COLUMN_IN_TABLE",
    20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
    36: "BAD_ARGUMENTS",
    42: "NUMBER_OF_ARGUMENTS_DOESNT_MATCH",
    44: "ILLEGAL_COLUMN",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    48: "NOT_IMPLEMENTED",
    50: "UNKNOWN_TYPE",
    56: "UNKNOWN_STORAGE",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    81: "UNKNOWN_DATABASE",
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    180: "THERE_IS_NO_PROFILE",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    291: "DATABASE_ACCESS_DENIED",
    344: "SUPPORT_IS_DISABLED",
    452: "SETTING_CONSTRAINT_VIOLATION",
    497: "ACCESS_DENIED",
    511: "UNKNOWN_ROLE",
    516: "AUTHENTICATION_FAILED",
    720: "USER_EXPIRED",
}

# The same code as for a table with too many parts, but waiting does not help: halving does.
_TOO_MANY_PARTITIONS = (252, "partitions for single INSERT")


def error_of(code: int, message: str) -> StreamdError:
    """The error that stands for what the server answered."""
    first_line = message.strip().partition("\n")[0]
    text = f"ClickHouse error {code}: {first_line}"
    if code == _TOO_MANY_PARTITIONS[0] and _TOO_MANY_PARTITIONS[1] in message:
        return Permanent(text)
    if code in RETRYABLE:
        return Retryable(text)
    if code in MISCONFIGURED:
        return Misconfigured(text)
    return Permanent(text)
