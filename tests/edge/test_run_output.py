"""The log of an attempt: secrets never reach it, and its cap keeps both ends of it."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.edge.run.following import Log
from coord.edge.run.output import Output
from coord.edge.run.redaction import Redaction, patterns

CAP = 256 << 10
LETTERS = st.sampled_from(b"ab\n").map(lambda byte: bytes([byte]))
TEXTS = st.lists(LETTERS, max_size=40).map(b"".join)


def masked(text: bytes, secrets: list[bytes]) -> bytes:
    """The law: every byte of every occurrence is masked, and no other."""
    hidden = {
        at + step
        for secret in secrets
        for at in range(len(text))
        if text.startswith(secret, at)
        for step in range(len(secret))
    }
    return bytes(ord("*") if at in hidden else byte for at, byte in enumerate(text))


@given(TEXTS, st.lists(st.lists(LETTERS, min_size=1, max_size=6).map(b"".join)), st.data())
def test_redaction_is_the_same_for_every_chunking(text: bytes, secrets: list[bytes], data: Any):
    """Of an alphabet so small that secrets overlap, repeat and begin in each other."""
    redaction = Redaction(secrets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))

    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = b"".join(map(redaction.feed, pieces)) + redaction.flush()

    assert out == masked(text, secrets)


@given(TEXTS, st.lists(LETTERS, min_size=2, max_size=6).map(b"".join))
def test_only_what_may_begin_a_secret_is_held_back(text: bytes, secret: bytes):
    """Whoever follows a log sees a prompt at once."""
    redaction = Redaction([secret])

    held = len(text) - len(redaction.feed(text))

    assert held < len(secret)
    assert secret.startswith(text[len(text) - held :])


def test_the_lines_of_a_key_are_secrets_too():
    """Short lines are not: they would be found in everything."""
    assert patterns([b"-----BEGIN-----\nMIIEow\nIBAAKCAQEA\n}\n"]) == [
        b"-----BEGIN-----", b"-----BEGIN-----\nMIIEow\nIBAAKCAQEA\n}\n", b"IBAAKCAQEA",
    ]  # fmt: skip


def numbered(first: int, last: int) -> bytes:
    """Lines of 16 bytes, each with its own number."""
    return b"".join(b"%015d\n" % number for number in range(first, last))


@pytest.mark.parametrize("has_holes", [True, False])
def test_a_capped_log_keeps_its_head_and_its_offsets(tmp_path: Path, has_holes: bool):
    """Where files cannot have holes the tail is given up too, and said to be."""
    total = 4 << 20
    output = Output(str(tmp_path), CAP, has_holes=has_holes)
    for first in range(0, total // 16, 1000):
        output.write(1, numbered(first, min(first + 1000, total // 16)))
    output.finish()

    assert output.bytes == total == os.path.getsize(tmp_path / "log")
    start, end = output.gap or (0, 0)
    assert start - CAP // 2 in range(16_000)
    assert end == total if not has_holes else total - CAP // 2 <= end < total
    if has_holes:
        assert os.stat(tmp_path / "log").st_blocks * 512 <= CAP
    got = b"".join(Log(str(tmp_path)).news())
    head, note, tail = got.partition(b"\n[%d bytes are not kept: %d to %d]\n" % (
        end - start, start, end
    ))  # fmt: skip
    whole = numbered(0, total // 16)
    assert note
    assert (head, tail) == (whole[:start], whole[end:])
    for offset in (0, start - 8, start + 1, end, total - 5):
        [*pieces] = Log(str(tmp_path), offset).news()
        assert b"".join(pieces).endswith(whole[max(offset, end) :])


def test_a_log_below_its_cap_is_whole(tmp_path: Path):
    output = Output(str(tmp_path), CAP)
    output.write(1, b"a" * (CAP // 2))
    output.write(2, b"b" * 100)
    output.finish()

    assert output.gap is None
    assert b"".join(Log(str(tmp_path)).news()) == b"a" * (CAP // 2) + b"b" * 100


def test_a_follower_never_takes_a_hole_for_output(tmp_path: Path):
    """Who reads slowly meets the gap while it grows."""
    output = Output(str(tmp_path), CAP)
    log, got = Log(str(tmp_path)), b""
    news = log.news()
    for first in range(0, 1 << 18, 1000):
        output.write(1, numbered(first, first + 1000))
        if first % 64_000 == 0:
            got += next(news, b"")
    output.finish()
    got += b"".join(news) + b"".join(log.news())

    assert b"\0" not in got
    assert b"bytes are not kept" in got
    assert got.endswith(b"%015d\n" % (len(range(0, 1 << 18, 1000)) * 1000 - 1))


def test_a_secret_split_by_the_pipe_stays_out_of_the_log(tmp_path: Path):
    """Each stream is its own: what stands between on the other changes nothing."""
    output = Output(str(tmp_path), CAP, [b"hunter22"])
    output.write(1, b"password: hun")
    output.write(2, b"warning\n")
    output.write(1, b"ter22\nhunt")
    output.finish()

    got = b"".join(Log(str(tmp_path)).news())
    assert got == b"password: warning\n********\nhunt"
    assert [stream for stream, _ in Log(str(tmp_path)).parted()] == [1, 2, 1]
