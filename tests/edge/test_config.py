"""This clone's settings file: what is read, refused, remembered and rewritten."""

import errno
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.settings import LOCAL
from coord.edge import config
from coord.errors import Refusal

DEFAULTS = {key: wanted.default for key, wanted in LOCAL.items()}


@pytest.fixture
def path(tmp_path):
    """Where the file would be."""
    return tmp_path / "config.yaml"


class Cache(dict[str, str]):
    """A cache as the index keeps it, with what was asked and put."""

    def put(self, key: str, text: str) -> None:
        self[key] = text

    def load(self, path):
        return config.load(str(path), self.get, self.put)


def load(path):
    """The settings without anything remembered."""
    return Cache().load(path)


def refusal_of(path, text):
    """What a file of this text is refused with."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Refusal) as refused:
        load(path)
    assert refused.value.code == "bad_config"
    return refused.value


@pytest.mark.parametrize("text", [None, "", "\n", "# nothing yet\n", "---\n"])
def test_a_file_that_says_nothing_leaves_the_defaults(path, text):
    if text is not None:
        path.write_text(text)

    assert load(path) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "skew_ms"),
    [
        ("skew_ms: 250\n", 250),
        ("skew_ms: 30s", 30_000),
        ("# why\nskew_ms: 5000 # ms\n", 5000),
        ("{skew_ms: '2m'}", 120_000),
        ("\ufeffskew_ms: 7\r\n", 7),
    ],
)
def test_a_value_is_milliseconds_or_a_span(path, text, skew_ms):
    path.write_text(text, newline="")

    assert load(path) == {**DEFAULTS, "skew_ms": skew_ms}


def test_a_misspelt_setting_is_refused_by_name_and_line_with_the_nearest(path):
    refusal = refusal_of(path, "# mine\nskeww_ms: 10\n")

    assert refusal.as_json() == {
        "code": "bad_config",
        "message": "config.yaml: unknown setting 'skeww_ms'",
        "hint": "did you mean skew_ms?",
        "line": 2,
    }


def test_a_shared_setting_is_refused_with_the_command_that_sets_it(path):
    refusal = refusal_of(path, "claim.ttl_ms: 10\n")

    assert refusal.hint == "every clone shares it: ev config set claim.ttl_ms VALUE"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("skew_ms: soon\n", "skew_ms is 'soon', not a span from 0s to 1h, in milliseconds", 1),
        ("\n\nskew_ms: -1\n", "skew_ms is '-1', not a span from 0s to 1h, in milliseconds", 3),
        ("skew_ms:\n", "skew_ms is '', not a span from 0s to 1h, in milliseconds", 1),
        ("skew_ms: true\n", "skew_ms is 'true', not a span from 0s to 1h, in milliseconds", 1),
        ("skew_ms: [1]\n", "skew_ms is 'a sequence', not a span from 0s to 1h, in milliseconds", 1),
        ("skew_ms: 1\nskew_ms: 2\n", "'skew_ms' is there twice", 2),
        ("- skew_ms\n", "it is not a mapping", 1),
        ("skew_ms 10\n", "it is not a mapping", 1),
        ("a: 1\nb: [\n", "it is not YAML: expected the node content, but found '<stream end>'", 3),
        ("skew_ms: 1\n\tx: 2\n", "it is not YAML: ", 2),
        ("---\nskew_ms: 1\n---\nskew_ms: 2\n", "it is not YAML: but found another document", 3),
        ("skew_ms: *x\n", "it is not YAML: found undefined alias 'x'", 1),
        ("? [a]\n: 1\n", "unknown setting 'a sequence'", 1),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_line(path, text, message, line):
    refusal = refusal_of(path, text)

    assert refusal.message.startswith(f"config.yaml: {message}")
    assert refusal.facts == {"line": line}
    assert "\n" not in refusal.message


@pytest.mark.parametrize("data", [b"skew_ms: \xff\n", b"skew_ms: \x00\n", b"[" * 5000])
def test_bytes_that_are_no_text_are_refused(path, data):
    assert refusal_of(path, data).hint


def test_a_file_that_cannot_be_read_is_refused(path):
    path.mkdir()

    with pytest.raises(Refusal) as refused:
        load(path)

    assert refused.value.code == "bad_config"


def test_what_was_parsed_once_is_remembered_by_its_bytes(path):
    """Other bytes are parsed anew; the same ones never again."""
    cache = Cache()
    path.write_text("skew_ms: 5\n")
    cache.load(path)
    (key,) = cache
    cache[key] = '{"skew_ms": 6}'

    assert cache.load(path)["skew_ms"] == 6
    path.write_text("skew_ms: 7\n")
    assert cache.load(path)["skew_ms"] == 7


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "7"])
def test_a_damaged_memory_is_as_none(path, text):
    cache = Cache()
    path.write_text("skew_ms: 5\n")
    cache.load(path)
    for key in cache:
        cache[key] = text

    assert cache.load(path)["skew_ms"] == 5


def test_a_refused_file_is_not_remembered(path):
    cache = Cache()
    path.write_text("skeww_ms: 5\n")
    with pytest.raises(Refusal):
        cache.load(path)

    assert cache == {}


def test_a_known_file_is_read_without_the_parser(path):
    """Importing it takes as long as a command may."""
    path.write_text("skew_ms: 5\n")
    code = (
        "import sys; from coord.edge import config\n"
        "print(config.load(sys.argv[1], lambda key: '{\"skew_ms\": 6}', None)['skew_ms'])\n"
        "config.load(sys.argv[1] + '.none', None, None)\n"
        "print('yaml' in sys.modules, 'coord.edge.store' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "6\nFalse False\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "skew_ms: 9\n"),
        ("", "skew_ms: 9\n"),
        ("# mine", "# mine\nskew_ms: 9\n"),
        ("# mine\nskew_ms: 5  # why\n# end", "# mine\nskew_ms: 9  # why\n# end"),
        ("'skew_ms': 30s\n", "'skew_ms': 9\n"),
        ("{skew_ms: 30s} # flow\n", "{skew_ms: 9} # flow\n"),
        ("{} # flow\n", "skew_ms: 9\n"),
        ("skew_ms: |\n  30s\n# end\n", "skew_ms: 9\n"),
        ("---\nskew_ms: 1\n...\n", "---\nskew_ms: 9\n...\n"),
        ("# ümlaut 🙂\r\nskew_ms: 1\r\n", "# ümlaut 🙂\r\nskew_ms: 9\r\n"),
    ],
)
def test_setting_a_value_changes_one_line(path, before, after):
    """A file that has no such line, and no place for one, is written anew."""
    if before is not None:
        path.write_bytes(before.encode())

    config.set_value(str(path), "skew_ms", 9)

    assert path.read_bytes().decode() == after
    assert load(path)["skew_ms"] == 9


@given(st.integers(0, 3_600_000), st.sampled_from(["", "# a\n", "skew_ms: 1s # b\n"]))
def test_what_is_set_is_what_is_read(tmp_path_factory, value, before):
    path = tmp_path_factory.mktemp("set") / "config.yaml"
    path.write_text(before)

    config.set_value(str(path), "skew_ms", value)

    assert load(path)["skew_ms"] == value


def test_setting_what_is_set_already_writes_nothing(path):
    path.write_text("skew_ms: 9s\n")
    before = os.stat(path)

    config.set_value(str(path), "skew_ms", 9000)

    assert os.stat(path) == before


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("skeww_ms", 9, "unknown_setting"),
        ("claim.ttl_ms", 9000, "unknown_setting"),
        ("skew_ms", -1, "bad_data"),
        ("skew_ms", True, "bad_data"),
        ("skew_ms", "9", "bad_data"),
    ],
)
def test_what_does_not_fit_is_not_written(path, key, value, code):
    with pytest.raises(Refusal) as refused:
        config.set_value(str(path), key, value)

    assert refused.value.code == code
    assert not path.exists()


def test_an_unusable_file_is_not_rewritten(path):
    """Its owner mends it; rewriting would lose what was meant."""
    path.write_text("skeww_ms: 5\n")

    with pytest.raises(Refusal, match="unknown setting"):
        config.set_value(str(path), "skew_ms", 9)

    assert path.read_text() == "skeww_ms: 5\n"


def test_a_rewritten_file_keeps_its_mode_and_its_link(path, tmp_path):
    real = tmp_path / "real.yaml"
    real.write_text("skew_ms: 5\n")
    real.chmod(0o640)
    path.symlink_to(real)

    config.set_value(str(path), "skew_ms", 9)

    assert path.is_symlink()
    assert real.read_text() == "skew_ms: 9\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_nothing_is_left_beside_the_file(path):
    config.set_value(str(path), "skew_ms", 9)

    assert os.listdir(path.parent) == ["config.yaml"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_refused_and_the_old_file_stays(path):
    """The new file's place is a device that is always full."""
    path.write_text("skew_ms: 5\n")
    beside = f"{path}.{os.getpid()}"
    os.symlink("/dev/full", beside)

    with pytest.raises(Refusal) as refused:
        config.set_value(str(path), "skew_ms", 9)

    assert refused.value.code == "disk"
    assert os.strerror(errno.ENOSPC) in refused.value.message
    assert path.read_text() == "skew_ms: 5\n"
    assert not os.path.lexists(beside)
