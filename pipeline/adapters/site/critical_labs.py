"""The section of the site file with its critical laboratory values, and the domain's table that it comes to."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_serializer, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.adapters.site.section import Section
from pipeline.domain.catalogue import BY_NAME, OBSERVABLES
from pipeline.domain.critical_labs import TABLE, YOUNGEST, Limit, Row, Table, limit

_LABS = {name: one for name, one in BY_NAME.items() if one.kind == "lab"}

Bound = Annotated[float, Field(allow_inf_nan=False)]
Age = Annotated[float, Field(ge=0, le=120, allow_inf_nan=False)]


class CriticalLab(Section):
    """The values of one analyte that are critical, for the ages from `from_age` on and under `under_age`, in years.

    below, above: the limit itself is not critical; at_most, at_least: it is.
    """

    observable: str = Field(
        description="the catalogue's name or LOINC code", json_schema_extra={"enum": [*_LABS, *(o.loinc for o in _LABS.values())]}
    )
    unit: str = Field(description="the catalogue's; asked for so that no limit is read in another")
    below: Bound | None = None
    at_most: Bound | None = None
    at_least: Bound | None = None
    above: Bound | None = None
    from_age: Age = YOUNGEST
    under_age: Age | None = None

    @field_validator("observable")
    @classmethod
    def _known(cls, given: str) -> str:
        name = OBSERVABLES[given].name if given in OBSERVABLES else given
        if name not in _LABS:
            near = get_close_matches(given.lower(), _LABS, 1)
            raise ValueError(f"no laboratory observable has the name or LOINC code {given!r}" + (f"; {near[0]}?" if near else ""))
        return name

    @field_validator("unit")
    @classmethod
    def _of_the_catalogue(cls, unit: str, row: ValidationInfo) -> str:
        known = _LABS.get(row.data.get("observable", ""))
        if known is not None and unit != known.unit:
            raise ValueError(f"{known.name} is in {known.unit} here, not in {unit}")
        return unit

    @field_validator("below", "at_most", "at_least", "above")
    @classmethod
    def _possible(cls, bound: float | None, row: ValidationInfo) -> float | None:
        known = _LABS.get(row.data.get("observable", ""))
        if known is not None and bound is not None and not known.low < bound < known.high:
            raise ValueError(f"a {known.name} is between {known.low:g} and {known.high:g} {known.unit}, so {bound:g} is no limit")
        return bound

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for one, other in (("below", "at_most"), ("above", "at_least")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} are the same side: give one of them")
        low, high = _side(self, high=False), _side(self, high=True)
        needed = {side.high for row in TABLE.get(self.observable, ()) for side in row.limits} or {not low}
        for side, high_side, words in ((low, False, "below or at_most"), (high, True, "above or at_least")):
            if side is None and high_side in needed:
                raise ValueError(f"{self.observable} has no {words}; a limit is not given up by silence")
        if low and high and low.bound >= high.bound:
            raise ValueError(f"the low limit {low.bound:g} is not less than the high one {high.bound:g}")
        if self.under_age is not None and self.from_age >= self.under_age:
            raise ValueError(f"nobody is from {self.from_age:g} on and under {self.under_age:g} years old")
        return self

    @model_serializer
    def _without_blanks(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}

    @property
    def row(self) -> Row:
        """The domain's."""
        sides = (_side(self, high=False), _side(self, high=True))
        return Row(tuple(side for side in sides if side), self.from_age, self.under_age)

    def contains(self, other: CriticalLab) -> bool:
        """Whether `other`, standing after this one, would never be asked."""
        longer = self.under_age is None or (other.under_age is not None and other.under_age <= self.under_age)
        return self.observable == other.observable and self.from_age <= other.from_age and longer


def _side(row: CriticalLab, *, high: bool) -> Limit | None:
    excluded, included = (row.above, row.at_least) if high else (row.below, row.at_most)
    bound = included if excluded is None else excluded
    return None if bound is None else limit(row.observable, bound, high=high, inclusive=excluded is None)


def _completed(given: list[CriticalLab]) -> list[CriticalLab]:
    """With the shipped rows that stand behind the site's."""
    for place, row in enumerate(given):
        if any(before.contains(row) for before in given[:place]):
            why = f"{row.observable}: a row before this one is for the same ages"
            fault = InitErrorDetails(type=PydanticCustomError("critical_labs", "{why}", {"why": why}), loc=(place,), input={})
            raise ValidationError.from_exception_data("critical_labs", [fault])
    return [*given, *(shipped for shipped in of(TABLE) if not any(row.contains(shipped) for row in given))]


CriticalLabs = Annotated[list[CriticalLab], AfterValidator(_completed)]


def table(rows: list[CriticalLab]) -> Table:
    """What the evidence is told."""
    found: dict[str, tuple[Row, ...]] = {}
    for one in rows:
        found[one.observable] = (*found.get(one.observable, ()), one.row)
    return found


def of(table: Table) -> list[CriticalLab]:
    """The section that comes to this table."""
    return [_written(name, row) for name, rows in table.items() for row in rows]


def _written(name: str, row: Row) -> CriticalLab:
    sides = {_WORDS[side.high, side.inclusive]: side.bound for side in row.limits}
    return CriticalLab(observable=name, unit=_LABS[name].unit, from_age=row.from_age, under_age=row.under_age, **sides)


_WORDS = {(False, False): "below", (False, True): "at_most", (True, True): "at_least", (True, False): "above"}
