from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_LOADING: _ClassVar[Stage]
    STAGE_SERVING: _ClassVar[Stage]
    STAGE_STALLED: _ClassVar[Stage]
    STAGE_ASLEEP: _ClassVar[Stage]
    STAGE_LAME_DUCK: _ClassVar[Stage]
    STAGE_DRAINING: _ClassVar[Stage]
    STAGE_FAILED: _ClassVar[Stage]
STAGE_UNSPECIFIED: Stage
STAGE_LOADING: Stage
STAGE_SERVING: Stage
STAGE_STALLED: Stage
STAGE_ASLEEP: Stage
STAGE_LAME_DUCK: Stage
STAGE_DRAINING: Stage
STAGE_FAILED: Stage

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchStatusRequest(_message.Message):
    __slots__ = ("interval_ms",)
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    interval_ms: int
    def __init__(self, interval_ms: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("stage", "ready", "not_ready_because", "loading", "model", "engine", "engine_version", "version", "start_time", "uptime_ms", "engine_restarts", "running_calls", "running_sequences", "waiting_sequences")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    ready: bool
    not_ready_because: str
    loading: Loading
    model: str
    engine: str
    engine_version: str
    version: str
    start_time: _timestamp_pb2.Timestamp
    uptime_ms: int
    engine_restarts: int
    running_calls: int
    running_sequences: int
    waiting_sequences: int
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., ready: bool = ..., not_ready_because: _Optional[str] = ..., loading: _Optional[_Union[Loading, _Mapping]] = ..., model: _Optional[str] = ..., engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., uptime_ms: _Optional[int] = ..., engine_restarts: _Optional[int] = ..., running_calls: _Optional[int] = ..., running_sequences: _Optional[int] = ..., waiting_sequences: _Optional[int] = ...) -> None: ...

class Loading(_message.Message):
    __slots__ = ("step", "step_time_ms", "loading_time_ms", "percent")
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEP_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LOADING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    step: str
    step_time_ms: int
    loading_time_ms: int
    percent: float
    def __init__(self, step: _Optional[str] = ..., step_time_ms: _Optional[int] = ..., loading_time_ms: _Optional[int] = ..., percent: _Optional[float] = ...) -> None: ...

class GetLoadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Load(_message.Message):
    __slots__ = ("running_sequences", "waiting_sequences", "places", "max_admitted_sequences", "queued_tokens", "max_queued_tokens", "kv_cache_usage", "predicted_wait_ms", "admitting")
    RUNNING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    WAITING_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    MAX_ADMITTED_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    ADMITTING_FIELD_NUMBER: _ClassVar[int]
    running_sequences: int
    waiting_sequences: int
    places: int
    max_admitted_sequences: int
    queued_tokens: int
    max_queued_tokens: int
    kv_cache_usage: float
    predicted_wait_ms: int
    admitting: bool
    def __init__(self, running_sequences: _Optional[int] = ..., waiting_sequences: _Optional[int] = ..., places: _Optional[int] = ..., max_admitted_sequences: _Optional[int] = ..., queued_tokens: _Optional[int] = ..., max_queued_tokens: _Optional[int] = ..., kv_cache_usage: _Optional[float] = ..., predicted_wait_ms: _Optional[int] = ..., admitting: bool = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("drain_seconds",)
    DRAIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    drain_seconds: float
    def __init__(self, drain_seconds: _Optional[float] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("running_calls", "lame_duck_seconds", "drain_seconds")
    RUNNING_CALLS_FIELD_NUMBER: _ClassVar[int]
    LAME_DUCK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    running_calls: int
    lame_duck_seconds: float
    drain_seconds: float
    def __init__(self, running_calls: _Optional[int] = ..., lame_duck_seconds: _Optional[float] = ..., drain_seconds: _Optional[float] = ...) -> None: ...

class SleepRequest(_message.Message):
    __slots__ = ("wait_seconds",)
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    wait_seconds: float
    def __init__(self, wait_seconds: _Optional[float] = ...) -> None: ...

class SleepResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WakeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WakeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResetPrefixCacheRequest(_message.Message):
    __slots__ = ("preempt_running",)
    PREEMPT_RUNNING_FIELD_NUMBER: _ClassVar[int]
    preempt_running: bool
    def __init__(self, preempt_running: bool = ...) -> None: ...

class ResetPrefixCacheResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartProfileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartProfileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopProfileRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopProfileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
