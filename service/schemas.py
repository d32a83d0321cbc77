"""The API as documentation shows it: requests, responses, errors.

Requests are decoded by grammar.py and decode.py, responses written as plain dicts; these models
describe both, and tests hold them to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.values import ID_LENGTH, LARGEST
from service.errors import Reason

_FEATURES = (
    "by name; text, a number, true or false, null, or a list of these, as the feature's kind in "
    "/info asks for. A name that is no feature there is ignored, whatever its value, and counted"
)
Features = Annotated[dict[str, Any], Field(description=_FEATURES)]
_WHOLE = Annotated[int, Field(ge=-(2**63) + 1, le=2**63 - 1)]
Id = Annotated[str, Field(min_length=1, max_length=ID_LENGTH)] | _WHOLE
Score = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")


class User(_Described):
    """Who the list is for. An unknown user is served all the same."""

    id: Id | None = None
    features: Features | None = None


class HistoryItem(_Described):
    """An item the user acted on, with features that override the catalogue's."""

    id: Id
    features: Features | None = None


class Candidate(_Described):
    """An item to be ranked, with features that override the catalogue's."""

    id: Id
    score: Score | None = Field(None, description="the earlier stage's score")
    features: Features | None = None


class Columns(_Described):
    """Candidates column by column, cheaper to parse: one value an id in every column."""

    id: list[Id]
    score: list[Score | None] | None = None
    features: Features | None = Field(None, description="likewise, a list for each feature")


class RerankRequest(_Described):
    """A list to be put in a better order. All but `candidates` may be absent."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "user": {"id": "42", "features": {"age": 24, "gender": "M"}},
                "history": ["50", "172"],
                "candidates": ["258", {"id": "300", "score": 0.71}, "127"],
                "top_k": 10,
            }
        },
    )

    request_id: str | None = Field(None, pattern=r"^[!-~]{1,128}$", description="echoed")
    user: User | None = None
    history: list[Id | HistoryItem] | None = Field(None, description="newest first")
    candidates: list[Id | Candidate] | Columns = Field(description="in incoming order")
    top_k: int | None = Field(None, ge=1, description="the bundle's list length where absent")
    deadline_ms: float | None = Field(None, gt=0, le=60_000, description="counted from arrival")
    mode: Literal["scorer", "generator"] | None = Field(
        None,
        description="a score for each candidate (so where absent), or a list made place by place",
    )
    on_failure: Literal["incoming", "error"] | None = None


class Result(BaseModel):
    """One item of the answer."""

    id: str
    index: int = Field(description="place in the request, from 0")
    rank: int = Field(description="place in the answer, from 1")
    score: float | None = Field(
        description="0..1, for mode generator the chance in that place; null where the order is "
        "the incoming one, as it is beyond the generated list"
    )


class ModelName(BaseModel):
    """The version that answered."""

    name: str
    version: str


class Timings(BaseModel):
    """Milliseconds by stage."""

    decode: float
    store: float
    queue: float
    encode: float
    score: float
    order: float
    total: float


class RerankResponse(BaseModel):
    """The list in its new order, or in its incoming one with `fallback` set."""

    request_id: str
    model: ModelName | None
    results: list[Result]
    fallback: Reason | None
    store: Literal["hit", "miss", "timeout", "error"] | None = Field(
        description="whether the store knew the user: only with a hit was anything added to the "
        "request; null where it was not asked, since there is none or nothing was lacking"
    )
    unknown_items: int | None = Field(
        description="of candidates and history, not in the catalogue; null where nothing was scored"
    )
    unknown_features: dict[str, int] = Field(
        description="features given in vain, and how often; those of no known name are `other`"
    )
    timings_ms: Timings


class EventSent(_Described):
    """A user acted on an item, in the sense in which the model's histories were made."""

    user_id: Id
    item_id: Id
    timestamp: float | None = Field(
        None, ge=0, description="seconds since 1970; the time of arrival where absent"
    )
    event_id: Id | None = Field(None, description="sent twice, it counts once")


class EventsRequest(_Described):
    """Events of any users, at most 1,000, in the order they came."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "events": [{"user_id": "42", "item_id": "258", "event_id": "e-9731"}],
            }
        },
    )

    events: list[EventSent] = Field(max_length=1_000)


class EventsResponse(BaseModel):
    """What became of them."""

    request_id: str
    events: int
    added: int = Field(description="the others were known, or older than what is kept")


class HistoryEvent(BaseModel):
    """An event as it is kept."""

    item_id: str
    timestamp: float
    event_id: str | None


class UserKept(BaseModel):
    """All that is kept of a user."""

    user_id: str
    features: Any = Field(description="as a request would carry them; null where there are none")
    history: list[HistoryEvent] = Field(description="newest first")


class UserDeleted(BaseModel):
    """A user was forgotten."""

    user_id: str
    deleted: bool = Field(description="false where nothing was kept")


class ErrorFields(BaseModel):
    """What was wrong, and where."""

    type: str
    message: str
    param: str | None = Field(description="the place in the body: candidates[3].features.price")
    request_id: str | None


class ErrorResponse(BaseModel):
    """The one shape of every error."""

    error: ErrorFields


class BatchRequest(_Described):
    """Several lists to be put in a better order, each as for /rerank."""

    requests: list[RerankRequest]


class BatchError(ErrorResponse):
    """One of them that is answered by an error."""

    status: int = Field(description="what /rerank would have answered it with")


class BatchResponse(BaseModel):
    """The answers, in the order of the requests."""

    responses: list[RerankResponse | BatchError]


class State(BaseModel):
    """Answer of a probe."""

    status: str


class FeatureInfo(BaseModel):
    """A feature that requests may give."""

    name: str
    kind: Literal["categorical", "bag", "numeric"]


class SchemaInfo(BaseModel):
    """What the model reads."""

    name: str
    fingerprint: str
    user: list[FeatureInfo]
    item: list[FeatureInfo]
    context: list[FeatureInfo]
    derived: list[FeatureInfo]
    max_history: int
    max_candidates: int
    list_size: int
    items: int = Field(description="items in the catalogue")


class GeneratorInfo(BaseModel):
    """What the generator was exported for."""

    list_size: int = Field(description="places it fills; others follow in incoming order")
    block_size: int = Field(description="places it looks at together")
    beam: int = Field(description="lists searched at once")


class LimitsInfo(BaseModel):
    """What requests are held to."""

    body_bytes: int
    candidates: int
    history: int
    inflight: int
    queue: int
    batch: int = Field(description="requests of one /rerank/batch")
    deadline_ms: float


class TrialInfo(BaseModel):
    """A version beside the one in service."""

    name: str
    version: str
    percent: float = Field(description="of the users, or for a shadow of the requests")


class RefusedInfo(BaseModel):
    """A version that did not pass; what served before goes on."""

    version: str | None = Field(description="null where CURRENT cannot be read")
    reason: str


class VersionInfo(BaseModel):
    """One version of the bundle."""

    version: str
    created: str | None = Field(description="when it was exported; null where it cannot be read")
    status: Literal["current", "split", "shadow", "previous"] | None


class VersionsInfo(BaseModel):
    """What can be served, and what is."""

    model: ModelName | None = Field(description="what this worker serves")
    versions: list[VersionInfo] = Field(description="by the pointer, which workers follow")
    refused: RefusedInfo | None


class Trial(BaseModel):
    """Which version is to be tried, and how much; no version ends it."""

    model_config = ConfigDict(extra="forbid")

    version: str | None
    percent: float = Field(10.0, gt=0, le=100)


class Trials(BaseModel):
    """What is tried beside the version in service."""

    split: TrialInfo | None
    shadow: TrialInfo | None


class Served(BaseModel):
    """A version that took over."""

    model: ModelName
    previous: ModelName | None


class Info(BaseModel):
    """What serves here."""

    state: Literal["loading", "ready", "failed"]
    reason: str | None = Field(description="why loading failed")
    model: ModelName | None
    previous: ModelName | None = Field(description="kept loaded, to go back to")
    split: TrialInfo | None = Field(description="answers some of the users")
    shadow: TrialInfo | None = Field(description="is asked too, and never answers")
    refused: RefusedInfo | None = Field(description="a version since then that was not taken")
    process: int = Field(description="of the worker that answers")
    schema_: SchemaInfo | None = Field(alias="schema")
    modes: list[str] = Field(description="what `mode` of a request may be")
    generator: GeneratorInfo | None
    providers: list[str]
    limits: LimitsInfo
    versions: dict[str, str] = Field(description="of this program and its runtime")
