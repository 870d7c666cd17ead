"""Every verb and every preamble, tried by everybody who is not meant to, and by who is.

What must hold: the matrix of `kit.matrix`, cell by cell; what is refused changes nothing, and
another's is answered word for word as what does not exist. Guards `relay.broker.rights`: with one
word more in a set there, or one verb that does not ask it, this fails.
"""

from __future__ import annotations

from fault.rows import Finding, Form, Row

from kit import matrix
from relay.broker.verbs import VERBS


def measure(form: Form) -> list[Finding]:
    cells = matrix.table()
    wrong = [line for (what, party), cell in cells.items()
             for line in matrix.try_cell(what, party, cell)]  # fmt: skip
    untried = set(VERBS) - {what.split()[0] for what, _ in cells}
    wrong += [f"{verb}: no row" for verb in sorted(untried)]
    return [
        Finding(
            f"verbs and preambles × {len(matrix.PARTIES)} kinds of users",
            f"{len(cells)} cells",
            f"{len(wrong)} wrong",
            "exactly the matrix",
            not wrong,
            "\n".join(wrong),
        )
    ]


ROW = Row("verbs", measure, short_s=3.0)
