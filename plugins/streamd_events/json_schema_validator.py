"""The `json_schema` validator."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from streamd.api import (
    Batch,
    ConfigError,
    ConfigFile,
    Misconfigured,
    Reject,
    Rejects,
    StageContext,
    doc,
)
from streamd_events.plain import to_plain
from streamd_events.problems import Problem, child_path
from streamd_events.verdicts import ModeConfig, Verdicts, reject_of

_REASONS = {
    "required": "missing_field",
    "type": "wrong_type",
    "const": "not_allowed",
    "enum": "not_allowed",
    "format": "invalid_format",
    "pattern": "invalid_format",
    "additionalProperties": "unknown_field",
    "unevaluatedProperties": "unknown_field",
    **dict.fromkeys(
        [
            "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
            "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        ],
        "out_of_range",
    ),
}  # fmt: skip
_MESSAGE_CHARACTERS = 500


class Validator(Protocol):
    """What this module needs of a compiled schema of jsonschema-rs."""

    def is_valid(self, instance: Any) -> bool: ...
    def iter_errors(self, instance: Any) -> Iterator[Any]: ...


class JsonSchemaValidator:
    """Check events against a JSON Schema (drafts 4, 6, 7, 2019-09 and 2020-12)."""

    class Config(ModeConfig, frozen=True, kw_only=True):
        schema: Annotated[
            dict[str, Any] | str | None,
            doc(
                "The schema, as a table or as JSON text. Either this or `schema_file`.",
                example='{"type": "object", "required": ["id"]}',
            ),
        ] = None
        schema_file: Annotated[
            ConfigFile | None,
            doc(
                "A file with the schema, read when the stage opens; a relative name starts at the"
                " directory of the configuration file."
            ),
        ] = None
        formats: Annotated[bool, doc("Whether `format` is a rule or only a remark.")] = True

    def __init__(self, config: Config, context: StageContext) -> None:
        """Raises ConfigError for a schema that is no schema."""
        self._verdicts = Verdicts(config, context)
        self._config = config
        self._validator: Validator | None = None
        if (config.schema is None) == (config.schema_file is None):
            message = "exactly one of schema and schema_file is needed"
            raise ConfigError(message, path="schema", also="schema_file")
        if config.schema is not None:
            try:
                self._validator = compile_schema(config.schema, formats=config.formats)
            except ValueError as error:
                raise ConfigError(str(error), path="schema") from error

    async def __aenter__(self) -> Self:
        """Raises Misconfigured if the schema's file cannot be read or is no schema."""
        if self._config.schema_file is not None:
            self._validator = _read_schema(self._config.schema_file, formats=self._config.formats)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def healthcheck(self) -> str:
        if self._config.schema_file is None:
            return "the schema is in the config"
        _read_schema(self._config.schema_file, formats=self._config.formats)
        return f"{self._config.schema_file} is a schema"

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        """Events stay as they are."""
        if not self._verdicts.active:
            return [batch]
        return self._verdicts.apply(batch, self._judge(batch.values))

    def _judge(self, values: list[Any]) -> dict[int, Reject]:
        validator = self._validator
        assert validator is not None, "the stage has not been entered"
        plain = [value if type(value) is dict else to_plain(value) for value in values]
        try:
            bad = [row for row, value in enumerate(plain) if not validator.is_valid(value)]
        except ValueError:  # a value that is no JSON
            bad = list(range(len(plain)))
        judged = ((row, _judge_one(validator, to_plain(plain[row]))) for row in bad)
        return {row: reject for row, reject in judged if reject is not None}


def _judge_one(validator: Validator, value: Any) -> Reject | None:
    try:
        if validator.is_valid(value):
            return None
        errors = validator.iter_errors(value)
        return reject_of(problem for error in errors for problem in _problems(error))
    except ValueError as error:
        return reject_of([Problem("wrong_type", "$", str(error)[:_MESSAGE_CHARACTERS])])


def _problems(error: Any) -> Iterator[Problem]:
    path = "$"
    for part in error.instance_path:
        path = f"{path}[{part}]" if isinstance(part, int) else child_path(path, part)
    keyword = error.kind.name
    if keyword == "falseSchema" and error.schema_path:
        keyword = error.schema_path[-1]
    reason = _REASONS.get(keyword, "schema")
    if reason == "missing_field":
        yield Problem(reason, child_path(path, error.kind.property), "a required field is missing")
    elif reason == "unknown_field" and hasattr(error.kind, "unexpected"):
        for name in error.kind.unexpected:
            yield Problem(reason, child_path(path, name), "the field is unknown")
    else:
        yield Problem(reason, path, error.message[:_MESSAGE_CHARACTERS])


def compile_schema(schema: dict[str, Any] | str, *, formats: bool) -> Validator:
    """A schema, as an object or as JSON text, made ready.

    References to other documents are refused: validation reads no network and no files.

    Raises ValueError for what is no schema.
    """
    library = importlib.import_module("jsonschema_rs")  # 15 ms that only its users pay
    try:
        validator: Validator = library.validator_for(
            schema, validate_formats=formats, retriever=_refuse, mask="the value"
        )
    except ValueError as error:
        raise ValueError(f"not a valid JSON Schema: {str(error).splitlines()[0]}") from error
    return validator


def _refuse(uri: str) -> Any:
    raise ValueError(f"references to other documents are not followed: {uri}")


def _read_schema(path: str, *, formats: bool) -> Validator:
    try:
        return compile_schema(Path(path).read_text("utf-8"), formats=formats)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"schema_file {path}: {error}") from error
