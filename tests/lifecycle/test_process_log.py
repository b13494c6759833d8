from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.process_log import ProcessLog


def written(path: Path) -> str:
    older = path.with_name(f"{path.name}.1")
    return (older.read_text() if older.exists() else "") + path.read_text()


def test_lines_go_into_the_file_whole_and_in_order(tmp_path: Path):
    log = ProcessLog(tmp_path / "logs" / "a.log")
    log.begin(7)
    for piece in (b"on", b"e\ntwo\nth", b"ree"):
        log.add(piece)
    log.close("the end")

    first, *rest = written(tmp_path / "logs" / "a.log").splitlines()
    assert first.endswith("Z process 7")
    assert rest == ["one", "two", "three", "the end"]
    assert log.text == "one\ntwo\nthree\nthe end\n"


def test_the_next_process_continues_the_file(tmp_path: Path):
    for pid in (1, 2):
        log = ProcessLog(tmp_path / "a.log")
        log.begin(pid)
        log.close()

    first, second = written(tmp_path / "a.log").splitlines()
    assert first.endswith("process 1")
    assert second.endswith("process 2")


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path):
    log = ProcessLog(tmp_path / "a.log")
    log.add(b"a prompt\n")
    log.close()

    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600


@given(st.lists(st.integers(0, 300), max_size=200))
def test_a_log_never_holds_more_than_its_limit_and_always_the_end(
    tmp_path_factory, lengths: list[int]
):
    path = tmp_path_factory.mktemp("logs") / "a.log"
    log = ProcessLog(path, limit_bytes=1000)
    log.add(b"first\n")
    for length in lengths:
        log.add(b"x" * length + b"\n")
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 1000
    log.close("last")

    assert written(path).endswith("last\n")


def test_a_flood_in_one_piece_leaves_its_end(tmp_path: Path):
    log = ProcessLog(tmp_path / "a.log", limit_bytes=1000)
    log.add(b"".join(b"%d\n" % n for n in range(10_000)))
    log.close()

    assert (tmp_path / "a.log").stat().st_size <= 500
    assert written(tmp_path / "a.log").endswith("9998\n9999\n")


def test_a_limit_that_was_lowered_holds_for_a_file_that_was_there(tmp_path: Path):
    (tmp_path / "a.log").write_bytes(b"x" * 10_000)
    log = ProcessLog(tmp_path / "a.log", limit_bytes=1000)
    log.add(b"y\n" * 400)
    log.add(b"z\n" * 400)
    log.close()

    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1000


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(0, 30))
def test_a_secret_is_never_kept_however_it_is_cut(cuts: list[int], before: int):
    data = b"a" * before + b" --api-key SECRETKEY --port 1\n"
    log = ProcessLog(secret="SECRETKEY")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        log.add(data[begin:end])

    assert log.text == "a" * before + " --api-key [key] --port 1\n"


def test_a_secret_across_the_cut_of_an_endless_line_is_not_kept():
    log = ProcessLog(secret="SECRETKEY")
    log.add(b"x" * 4092 + b"SECRETKEY" + b"y" * 5000)

    assert "SECRET" not in log.text


def test_a_file_that_cannot_be_written_is_given_up_and_said_so(tmp_path: Path):
    (tmp_path / "a.log").mkdir()
    log = ProcessLog(tmp_path / "a.log")
    for line in (b"one\n", b"two\n"):
        log.add(line)
    log.close()

    assert log.text.splitlines() == [
        "one",
        f"[{tmp_path / 'a.log'} cannot be written: Is a directory]",
        "two",
    ]


def test_a_full_disk_ends_the_file_and_not_the_service():
    log = ProcessLog(Path("/dev/full"))
    log.add(b"one\n")
    log.add(b"two\n")
    log.close()

    assert log.text.splitlines()[0] == "one"
    assert "/dev/full cannot be written: No space left on device" in log.text
