"""Parses request bodies: the one place where a caller's JSON or XML becomes values.

A body of any content is a value or an error 400. The parsers have a limit on nesting, so that none exhausts the stack.
"""

from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json

from worker.lab.sandbox.http_types import ApiError, caused
from worker.lab.sandbox.xml import read_xml

_FORMAT: Final = "invalid_format"
_CODES = {
    "missing": "required",
    "too_long": "invalid_length",
    "too_short": "invalid_length",
    "duplicate_reference": "duplicate_reference",
}
"""The code of the cause, by pydantic's type of error; any other is `invalid_format`."""


class Body(BaseModel):
    """A request body; the API ignores keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


AnyBody = TypeVar("AnyBody", bound=Body)


def parse(model: type[AnyBody], body: bytes, *, xml: bool = False) -> AnyBody | ApiError:
    """The body as a model, or the error that names the first invalid place in it."""
    try:
        return model.model_validate(read_xml(body) if xml else from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        return _invalid(error.errors(include_url=False, include_input=False, include_context=False)[0])
    except ValueError as error:
        return caused(400, "validation_error", _FORMAT, f"The body cannot be read: {error}")


def _invalid(problem: ErrorDetails) -> ApiError:
    place = ".".join(map(str, problem["loc"])) or "The body"
    code = _CODES.get(problem["type"], _FORMAT)
    return caused(400, "validation_error", code, f"{place}: {problem['msg']}")
