"""Checks of a request that report every field that is wrong, not only the first."""

from collections.abc import Callable, Sized
from typing import TypeVar, cast

from libs.common.errors import InvalidRequest, Violation

V = TypeVar("V")
R = TypeVar("R")


class Checks:
    """Collects violations; `finish` raises them all as one InvalidRequest."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def that(self, condition: object, field: str, description: str) -> bool:
        """Note a violation unless the condition holds; return whether it does."""
        if not condition:
            self.violations.append(Violation(field, description))
        return bool(condition)

    def required(self, field: str, value: object) -> bool:
        """Note a violation when a value is empty, zero or absent; return whether it is there.

        A message that is set but empty counts as there: ask `HasField` and pass its answer.
        """
        return self.that(value, field, "is required")

    def at_most(self, field: str, value: Sized | int, limit: int) -> bool:
        """Note a violation when a number, or the length of anything else, is above the limit."""
        size = value if isinstance(value, int) else len(value)
        return self.that(size <= limit, field, f"is {size}; at most {limit} is allowed")

    def text(self, field: str, value: str, longest: int) -> bool:
        """Note a violation unless a text is there, no longer, and fit to be shown in one line.

        That is: without control characters (a NUL, PostgreSQL refuses) and without white space at
        either end.
        """
        return (
            self.required(field, value)
            and self.at_most(field, value, longest)
            and self.that(value == value.strip(), field, "must not begin or end with white space")
            and self.that(value.isprintable(), field, "must not hold control characters")
        )

    def parsed(self, field: str, parse: Callable[[V], R], value: V) -> R:
        """Return what `parse` makes of a value, and note a ValueError's text as a violation.

        After a violation the returned value means nothing: `finish` must come before its use.
        """
        try:
            return parse(value)
        except InvalidRequest as error:
            self.violations.extend(
                Violation(_join(field, each.field), each.description)
                for each in error.violations or (Violation("", error.message),)
            )
        except ValueError as error:
            self.violations.append(Violation(field, str(error)))
        # Callers finish() before they touch it; an Optional would make each of them check twice.
        return cast("R", None)

    def finish(self) -> None:
        """Raise InvalidRequest with every violation noted so far, if any."""
        if self.violations:
            raise InvalidRequest.many(self.violations)


def _join(field: str, rest: str) -> str:
    return f"{field}.{rest}" if field and rest else field or rest
