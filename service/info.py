"""GET /info: what serves here, without paths, keys or anything of a user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import metadata

from features.schema import Feature
from service.engine import Engine
from service.models import Model, Models, Tried
from service.schemas import (
    FeatureInfo,
    GeneratorInfo,
    Info,
    LimitsInfo,
    ModelName,
    RefusedInfo,
    SchemaInfo,
    TrialInfo,
)
from service.settings import Settings


def describe(settings: Settings, models: Models) -> Info:
    """The answer of /info for the model that is current now."""
    engine = models.current.engine if models.current else None
    facts = engine.bundle.manifest.generator if engine else None
    return Info(
        state=models.state,
        reason=models.reason,
        model=name_of(models.current),
        previous=name_of(models.previous),
        split=trial_of(models.split),
        shadow=trial_of(models.shadow),
        refused=refused_of(models),
        process=os.getpid(),
        schema=_schema(engine) if engine else None,
        modes=list(engine.modes) if engine else [],
        generator=GeneratorInfo(**facts.model_dump()) if facts else None,
        providers=list(engine.providers) if engine else [],
        limits=_limits(settings),
        versions={"psad": package_version(), "onnxruntime": package_version("onnxruntime")},
    )


def name_of(model: Model | None) -> ModelName | None:
    """How callers know it."""
    return ModelName(name=model.engine.name, version=model.engine.version) if model else None


def trial_of(tried: Tried | None) -> TrialInfo | None:
    """A version beside the one in service."""
    if tried is None:
        return None
    engine = tried.model.engine
    return TrialInfo(name=engine.name, version=engine.version, percent=tried.percent)


def refused_of(models: Models) -> RefusedInfo | None:
    """The newest version that did not pass, if none took over since."""
    one = models.refused
    return RefusedInfo(version=one.version, reason=one.reason) if one else None


def package_version(name: str = "psad") -> str:
    """The installed version of a distribution, "unknown" where it is not installed as one."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _limits(settings: Settings) -> LimitsInfo:
    return LimitsInfo(
        body_bytes=settings.max_body_bytes,
        candidates=settings.max_candidates,
        history=settings.max_history,
        inflight=settings.max_inflight,
        queue=settings.max_queue,
        batch=settings.max_batch,
        deadline_ms=settings.deadline_ms,
    )


def _schema(engine: Engine) -> SchemaInfo:
    schema = engine.schema
    return SchemaInfo(
        name=schema.name,
        fingerprint=schema.fingerprint(),
        user=_features(schema.user),
        item=_features(schema.item),
        context=_features(schema.context),
        derived=_features(schema.derived),
        max_history=schema.max_history,
        max_candidates=schema.max_candidates,
        list_size=schema.list_size,
        items=len(engine.bundle.catalogue),
    )


def _features(features: Sequence[Feature]) -> list[FeatureInfo]:
    return [FeatureInfo(name=f.name, kind=f.kind) for f in features]
