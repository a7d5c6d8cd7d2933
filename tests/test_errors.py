"""What a user can mend is one line and exit code 2; a defect keeps its traceback."""

import errno
import os

import pytest

from pixelsmile.errors import UserError, friendly, naming


def test_user_error_is_one_line_and_exit_code_two(capsys):
    with pytest.raises(SystemExit) as stop, friendly():
        raise UserError("score of happy is 1.2 in [a.jsonl]: give a number in [0, 1].")
    assert stop.value.code == 2
    expected = "error: score of happy is 1.2 in [a.jsonl]: give a number in [0, 1].\n"
    assert capsys.readouterr().err == expected


def test_interrupt_says_what_to_do_next(capsys):
    with pytest.raises(SystemExit) as stop, friendly("Run `make train` again."):
        raise KeyboardInterrupt
    assert stop.value.code == 130
    assert capsys.readouterr().err == "Stopped. Run `make train` again.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_the_file(capsys, number):
    with pytest.raises(SystemExit), friendly(), naming("cache/0001.safetensors"):
        raise OSError(number, os.strerror(number))
    error = capsys.readouterr().err
    assert error.startswith("error: disk is full while writing cache/0001.safetensors: free some")


def test_missing_permission_names_the_file(capsys):
    with pytest.raises(SystemExit), friendly():
        raise PermissionError(errno.EACCES, "Permission denied", "/data/set")
    assert "no permission to use /data/set: choose a folder" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("shapes"), KeyError("x"), OSError("odd")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)), friendly():
        raise error


def test_full_errors_are_shown_on_request(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError), friendly():
        raise UserError("anything")


def test_friendly_also_wraps_a_function():
    @friendly()
    def main():
        raise UserError("anything")

    with pytest.raises(SystemExit):
        main()


def test_a_file_name_that_is_known_is_kept():
    with pytest.raises(OSError, match="inner"), naming("outer"):
        raise OSError(errno.ENOENT, "No such file", "inner")
