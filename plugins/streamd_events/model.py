"""The event that the `event` validator knows, as types.

A field that an event does not have is UNSET and is not encoded, a null is None: what was decoded
encodes to what arrived. Rules that a type cannot say are named by `extra={"check": ...}` and
stand in `checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

EventType = Literal["user_action", "system_event", "api_call", "error", "metric"]
Source = Annotated[str, Meta(min_length=1, max_length=100)]
UserId = Annotated[str, Meta(max_length=50)]
SessionId = Annotated[str, Meta(max_length=100)]
IpAddress = Annotated[str, Meta(extra={"check": "ip_address"})]
Data = Annotated[dict[str, Any], Meta(extra={"check": "data"})]
Tag = Annotated[str, Meta(extra={"check": "tag"})]
Tags = Annotated[list[Tag], Meta(max_length=10)]
Version = Annotated[str, Meta(extra={"check": "version"})]
EventId = Annotated[str, Meta(min_length=1)]
Timestamp = Annotated[str, Meta(extra={"check": "timestamp"})]


class Payload(Struct, frozen=True, gc=False):
    event_type: EventType
    source: Source
    user_id: UserId | UnsetType | None = UNSET
    session_id: SessionId | UnsetType | None = UNSET
    ip_address: IpAddress | UnsetType | None = UNSET
    data: Data | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET
    version: Version | UnsetType | None = UNSET


class Event(Struct, frozen=True, gc=False):
    id: EventId
    timestamp: Timestamp
    payload: Payload


class ClosedPayload(Payload, frozen=True, gc=False, forbid_unknown_fields=True):
    """A payload without further fields."""


class ClosedEvent(Event, frozen=True, gc=False, forbid_unknown_fields=True):
    """An event without further fields."""

    payload: ClosedPayload
