"""The base of all models of specs, and the types that several of them have."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WrapValidator

from gateway.core.http.request import Secret

Tree = Any
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
MemberName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
PointFieldName = Literal["namespace", "metric", "value", "stats", "unit", "time_ns", "attributes"]
StatisticName = Literal["count", "sum", "min", "max", "avg", "last"]


def listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _secret(value: Any) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is text, and not empty")
    return Secret(value)


def _number(value: Any, read: Any) -> Any:
    return value if type(value) is int else read(value)


SecretText = Annotated[Any, PlainValidator(_secret)]
HashName = Literal["sha1", "sha256", "sha512", "md5", "sm3"]
Offset = Annotated[str, Field(pattern=r"^(utc|[+-][0-9]{2}:[0-9]{2})$")]
Positive = Annotated[float, Field(gt=0)]
Exact = Annotated[float, WrapValidator(_number)]  # an integer stays one, past 2^53 too
Count = Annotated[int, Field(gt=0)]


class Model(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )
