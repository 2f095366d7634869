"""Where a text is cut for a voice that wants whole clauses."""

import pytest

from multimodal.voice_hub import LONGEST_CLAUSE, cut


@pytest.mark.parametrize(
    ("text", "clauses", "rest"),
    [
        ("It is 3.5, not 10:30. Yes", ["It is 3.5,", " not 10:30."], " Yes"),
        ("one, two", ["one,"], " two"),
        ("one,", [], "one,"),  # "1," may go on as "1,000"
        ("今天是星期一。很冷", ["今天是星期一。"], "很冷"),
        ("यह सोमवार है। ठीक", ["यह सोमवार है।"], " ठीक"),
        ('"Yes." he said', ['"Yes."'], " he said"),
        ("a\nb", ["a\n"], "b"),
        ("", [], ""),
    ],
)
def test_clauses(text, clauses, rest):
    assert cut(text) == (clauses, rest)


def test_a_clause_without_an_end_is_cut_at_a_blank():
    clauses, rest = cut("many words " * 100)
    assert all(len(one) <= LONGEST_CLAUSE and one.endswith(" ") for one in clauses)
    assert "".join(clauses) + rest == "many words " * 100
    clauses, rest = cut("x" * 1000)
    assert "".join(clauses) + rest == "x" * 1000 and max(map(len, clauses)) == LONGEST_CLAUSE
