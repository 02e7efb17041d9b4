"""The text format of Prometheus, version 0.0.4. Pure.

A scrape has tens of thousands of samples when many merchants have failures of many kinds: each is one formatting of a
template, a quarter of what `prometheus_client` takes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[Sequence[str], float]]
"""Label values, and the number."""


class Series(NamedTuple):
    """Samples with the same name, which has this suffix, and the same label names."""

    suffix: str
    labels: Sequence[str]
    samples: Samples


class Family(NamedTuple):
    """A metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    about: str
    series: Sequence[Series]


def single(kind: Literal["counter", "gauge"], name: str, about: str, labels: Sequence[str], values: Any) -> Family:
    """A counter or gauge. `values`: a mapping from label values to numbers."""
    numbers: Mapping[Sequence[str], float] = values
    return Family(name, kind, about, [Series("", labels, sorted(numbers.items()))])


def written(families: Iterable[Family]) -> bytes:
    """The text."""
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.about}\n# TYPE {family.name} {family.kind}\n"
    for series in family.series:
        labels = ",".join(f'{label}="%s"' for label in series.labels)
        template = f"{family.name}{series.suffix}{{{labels}}} %r\n" if labels else f"{family.name}{series.suffix} %r\n"
        for values, number in series.samples:
            yield template % (*map(_escaped, values), float(number))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
