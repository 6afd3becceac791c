"""What the benchmark may be asked for: names that it knows, before anything is made."""

from __future__ import annotations

import pytest
from bench.arguments import options


@pytest.mark.parametrize(("option", "known"), [("--only", "order"), ("--contestants", "fastapi_orm")])
def test_a_name_that_is_not_known_is_refused(
    option: str, known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options([option, f"{known},nonsense"])
    said = capsys.readouterr().err
    assert "there is no 'nonsense'" in said
    assert known in said.partition("there are")[2]
    assert not options([option, known]).whole


def test_nothing_asked_for_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, quick in (("0", False), ("1", True)):
        monkeypatch.setenv("QUICK", value)
        found = options([])
        assert (found.whole, found.quick) == (True, quick)
        assert found.plan([3, 4]).servers == {3}
        assert found.plan([3, 4]).client == {4}
        assert found.plan([3]).servers is None
        assert found.plan([3]).rounds == 5
