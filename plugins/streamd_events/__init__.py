"""Events: their type, validators for them and for documents of your own, data quality."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.api import Plugin, hookimpl
from streamd_events.event_validator import EventValidator
from streamd_events.json_schema_validator import JsonSchemaValidator
from streamd_events.model import Event, Payload
from streamd_events.payloads import validate_payload
from streamd_events.quality import DataQualityCheck
from streamd_events.quality_stage import QualityValidator
from streamd_events.struct_validator import StructValidator

__all__ = ["DataQualityCheck", "Event", "Payload", "validate_payload"]


@hookimpl
def streamd_plugins() -> Sequence[Plugin]:
    return [
        Plugin("validate", "event", EventValidator),
        Plugin("validate", "struct", StructValidator),
        Plugin("validate", "json_schema", JsonSchemaValidator),
        Plugin("validate", "quality", QualityValidator),
    ]
