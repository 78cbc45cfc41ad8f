from __future__ import annotations

import gc

import pytest

from subbyte import errors
from subbyte.errors import SubbyteError, reason
from subbyte.extras import compress_extra


def test_message_says_what_where_expected_got() -> None:
    error = SubbyteError("wrong shape", where="a.npz:x", expected=[1, 2], got="3\n 4")
    assert str(error) == "wrong shape [a.npz:x]: expected [1, 2], got 3 4"
    assert str(SubbyteError("empty")) == "empty"


def test_all_but_a_users_data_is_spelled() -> None:
    error = SubbyteError("what", where="at", expected="this", got="Got", hint="try")
    assert str(error) == "what [at]: expected this, got Got (try)"
    assert error.spelled(str.upper) == "WHAT [AT]: EXPECTED THIS, got Got (TRY)"
    assert SubbyteError("what", got=3).spelled(str.upper) == "WHAT: got 3"


def test_reason_is_the_whole_message_of_other_software() -> None:
    said = "[ONNXRuntimeError] : 1 : FAIL : Invalid perm {0,2}, input shape = {\n}\n\n"
    assert reason(RuntimeError(said)) == "1 : FAIL : Invalid perm {0,2}, input shape = { }"
    assert reason(ValueError("first\n  second")) == "first second"
    assert reason(KeyError()) == "KeyError"
    assert reason(UnicodeDecodeError("utf-8", b"name \xff", 5, 6, "no")) == "name \ufffd"


def test_a_very_long_reason_says_what_is_missing() -> None:
    assert reason(RuntimeError("x" * 12), longest=10) == "x" * 10 + " ... (2 more characters)"
    assert reason(RuntimeError("x" * 10), longest=10) == "x" * 10


def test_every_error_is_a_subbyte_error() -> None:
    kinds = [kind for name, kind in vars(errors).items() if name.endswith("Error")]
    assert len(kinds) > 5
    assert all(issubclass(kind, SubbyteError) for kind in kinds)


def test_missing_package_names_the_extra() -> None:
    with (
        pytest.raises(errors.MissingDependencyError, match=r"torch: .*subbyte\[compress\]"),
        compress_extra("subbyte compress"),
    ):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")


def test_garbage_is_collected_again_after_imports() -> None:
    with compress_extra("subbyte compress"):
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), compress_extra("subbyte compress"):
        raise ZeroDivisionError
    assert gc.isenabled()


def test_other_missing_modules_are_our_own_bug() -> None:
    with pytest.raises(ModuleNotFoundError), compress_extra("subbyte compress"):
        raise ModuleNotFoundError("No module named 'subbyte.nothing'", name="subbyte.nothing")
