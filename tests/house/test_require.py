import pytest

from tests.conftest import require


@pytest.mark.parametrize("needed", ["no_such_engine", False])
def test_what_is_absent_skips_the_test_and_says_why(needed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no engine here"):
        require(needed, "no engine here")


@pytest.mark.parametrize("needed", ["no_such_engine", False])
def test_in_continuous_integration_it_fails_the_test(needed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no engine here"):
        require(needed, "no engine here")


@pytest.mark.parametrize("needed", ["pytest", True])
def test_what_is_present_lets_the_test_run(needed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")

    require(needed, "never said")
