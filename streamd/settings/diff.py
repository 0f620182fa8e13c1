"""What a reload changes, pipeline by pipeline and stage by stage. Compares data, runs nothing."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from streamd.settings.model import PipelineSpec, PluginSpec, Settings, StageSpec


class PipelineDiff(Struct, frozen=True):
    """Two versions of one pipeline. Stages are named by id, in the order of the file.

    A stage whose role has changed is removed and added. `options`: the pipeline's own keys
    differ. `policies`: its default policies differ. `order`: the stages that stayed, unchanged
    or not, run in another order.
    """

    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    options: bool = False
    policies: bool = False
    order: bool = False

    @property
    def empty(self) -> bool:
        """Whether the pipeline is the same."""
        stages = self.changed or self.added or self.removed
        return not (stages or self.options or self.policies or self.order)


class Diff(Struct, frozen=True):
    """Two versions of a configuration. `daemon`: the names of changed keys of `[streamd]`.

    `pipelines` has those that are in both, the unchanged ones too.
    """

    daemon: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    pipelines: Mapping[str, PipelineDiff]

    @property
    def empty(self) -> bool:
        """Whether both mean the same."""
        same = all(pipeline.empty for pipeline in self.pipelines.values())
        return same and not (self.daemon or self.added or self.removed)


def diff(old: Settings, new: Settings) -> Diff:
    """What is different in `new`. Where things stand in the file does not matter."""
    before = {pipeline.name: pipeline for pipeline in old.pipelines}
    after = {pipeline.name: pipeline for pipeline in new.pipelines}
    return Diff(
        daemon=tuple(
            name
            for name in old.daemon.__struct_fields__
            if getattr(old.daemon, name) != getattr(new.daemon, name)
        ),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        pipelines={
            name: diff_pipelines(before[name], after[name]) for name in after if name in before
        },
    )


def diff_pipelines(old: PipelineSpec, new: PipelineSpec) -> PipelineDiff:
    """What is different in the `new` version of a pipeline."""
    before, after = _stages(old), _stages(new)
    stayed = [key for key in after if key in before]
    return PipelineDiff(
        unchanged=tuple(key[1] for key in stayed if after[key] == before[key]),
        changed=tuple(key[1] for key in stayed if after[key] != before[key]),
        added=tuple(key[1] for key in after if key not in before),
        removed=tuple(key[1] for key in before if key not in after),
        options=old.options != new.options,
        policies=_placeless(old.policies) != _placeless(new.policies),
        order=stayed != [key for key in before if key in after],
    )


def _stages(pipeline: PipelineSpec) -> dict[tuple[str, str], StageSpec]:
    return {
        (stage.role, stage.id): structs.replace(
            stage,
            path="",
            codec=None if stage.codec is None else structs.replace(stage.codec, path=""),
            policies=None if stage.policies is None else _placeless(stage.policies),
        )
        for stage in (*pipeline.sources, *pipeline.steps, *pipeline.sinks)
    }


def _placeless(specs: tuple[PluginSpec, ...]) -> tuple[PluginSpec, ...]:
    return tuple(structs.replace(spec, path="") for spec in specs)
