"""The types of a merchant file, and what is invalid in one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from config.merchant_files.api import Api
from config.merchant_files.conditions import Conditions
from config.merchant_files.retry import Limits, Retry
from config.strategies.catalogue import AnyStrategy, available
from config.strategies.strategy import Flavour

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A valid name of a merchant: the file's stem, part of Redis keys and of labels in Flower."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


Key = tuple[str | int, ...]
Wrong = tuple[Key, str]
"""The key of a problem and its message."""


def _refuse(wrong: Sequence[Wrong]) -> None:
    """Raise all problems at once, each at its own key; a ValueError would apply to the whole table."""
    if wrong:
        errors = [
            InitErrorDetails(type=PydanticCustomError("unsupported", "{text}", {"text": text}), loc=key, input=None)
            for key, text in wrong
        ]
        raise ValidationError.from_exception_data("merchant file", errors)


class Choice(_Table):
    """A strategy and the steps it falls back to."""

    strategy: AnyStrategy
    """The first strategy."""
    fallback: Annotated[tuple[AnyStrategy, ...], Field(strict=False, max_length=10)] = ()
    """The next steps after a refusal, in order; a rule without it has no other step."""

    def strategies(self) -> Iterator[tuple[Key, AnyStrategy]]:
        """Every step, each with its key."""
        yield ("strategy",), self.strategy
        for index, step in enumerate(self.fallback):
            yield ("fallback", index), step

    def unsupported_reason(self, flavour: Flavour) -> Iterator[Wrong]:
        """The strategies that this flavour does not have."""
        for key, strategy in self.strategies():
            if reason := strategy.unsupported_reason(flavour):
                yield key, f"{reason}; use one of {', '.join(available(flavour))}"


class Rule(Choice):
    """`[[rules]]`: a choice for the orders that meet its conditions."""

    name: str = Field(min_length=1, max_length=100, json_schema_extra={"not": {"const": "default"}})
    """The name of the rule in `allocation explain` and events; unique, and not `default`."""
    when: Conditions
    """The conditions, all of which must hold."""


class MerchantFile(_Table):
    """A whole merchant file."""

    api: Api
    """Where and how the merchant's allocation API is called."""
    allocation: Choice
    """The plan when no rule matches."""
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    """Rules; the first one that matches chooses the plan."""
    retry: Retry = Retry()
    """Attempts, deadline and quiet time."""
    limits: Limits = Limits()
    """Limits for calls to the API, over all workers."""

    @field_validator("allocation")
    @classmethod
    def _allocation_fits(cls, allocation: Choice, others: ValidationInfo) -> Choice:
        if api := others.data.get("api"):
            _refuse([*allocation.unsupported_reason(api.flavour)])
        return allocation

    @field_validator("rules")
    @classmethod
    def _rules_fit(cls, rules: tuple[Rule, ...], others: ValidationInfo) -> tuple[Rule, ...]:
        wrong = [*_unsupported_strategies([rule.name for rule in rules])]
        if api := others.data.get("api"):
            wrong += [
                ((i, *key), text) for i, rule in enumerate(rules) for key, text in rule.unsupported_reason(api.flavour)
            ]
        _refuse(wrong)
        return rules

    @field_validator("retry")
    @classmethod
    def _times_fit(cls, retry: Retry, others: ValidationInfo) -> Retry:
        if not (api := others.data.get("api")):
            return retry
        _refuse([((key,), text) for key, text in retry.unsupported_reason(api.timeout_s)])
        return retry.with_fitting_queue_time(api.timeout_s)

    def strategies(self) -> Iterator[tuple[Key, AnyStrategy]]:
        """Every strategy of the file, each with its key."""
        yield from ((("allocation", *key), strategy) for key, strategy in self.allocation.strategies())
        for index, rule in enumerate(self.rules):
            yield from ((("rules", index, *key), strategy) for key, strategy in rule.strategies())


def _unsupported_strategies(names: Sequence[str]) -> Iterator[Wrong]:
    for index, name in enumerate(names):
        if name == "default":
            yield (index, "name"), "'default' is what [allocation] is called; rename it"
        elif name in names[:index]:
            yield (index, "name"), f"another rule is called {name!r}; rename one of them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Merchant:
    """A merchant with a valid file. `digest` changes with the file."""

    name: str
    file: MerchantFile
    digest: str = field(repr=False)

    @property
    def version(self) -> str:
        """The digest as events and commands show it."""
        return self.digest[:12]


def short_quiet_time(merchant: Merchant) -> str | None:
    """The warning of a quiet time that ends before a call may; None if it is long enough."""
    quiet_s, timeout_s = merchant.file.retry.quiet_s, merchant.file.api.timeout_s
    if quiet_s >= timeout_s:
        return None
    return (
        f"the quiet time ({quiet_s:g} s) is shorter than api.timeout_s ({timeout_s:g} s): a call may still be in "
        "flight when the quiet time ends, and its shipment be allocated twice; make it longer than api.timeout_s"
    )
