"""Which connections are to carry a message, and why not the others."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class PassedOver:
    """A connection that the plan leaves out, with the reasons."""

    connection: str
    reasons: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Emulated:
    """Something the core does because the connection's provider does not."""

    connection: str
    capability: str
    how: str


@attrs.frozen(kw_only=True)
class Plan:
    """The connections in the order of trying, and the explanation.

    ``chunk`` is how many recipients the first connection takes in one call; ``None`` is no limit.
    """

    order: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    emulated: tuple[Emulated, ...] = ()
    chunk: int | None = None

    def explain(self) -> str:
        """The plan in sentences, one a line."""
        lines = []
        if self.order:
            first, *rest = self.order
            then = f", then {', '.join(rest)} if it cannot" if rest else ""
            lines.append(f"send through {first}{then}")
        else:
            lines.append("nothing can carry this message")
        lines += [f"passed over {skipped.connection}: {'; '.join(skipped.reasons)}" for skipped in self.passed_over]
        lines += [f"{item.connection}: {item.how} ({item.capability})" for item in self.emulated]
        return "\n".join(lines)
