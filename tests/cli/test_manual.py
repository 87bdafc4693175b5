"""The manual pages are the tools' own help, and good mdoc(7)."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from coord.cli import manual
from coord.edge import environment
from coord.errors import CODES, STATUSES

ROOT = Path(__file__).resolve().parents[2]


def common(command):
    """Options that every verb of the sample has."""
    shown = click.option("--json", is_flag=True, help="Print JSON Lines.")
    return shown(click.option("--as", "as_", metavar="AGENT", help="Act as AGENT.")(command))


def writing(command):
    """Options of the sample's verbs that write."""
    return common(click.option("--dry-run", is_flag=True, help="Only print.")(command))


@click.group(help="Pears: who eats which.\n\nA \\ in 'text'… costs ~0. Really (yes.) True.")
def sample():
    """A tool with what tools have: nested verbs, arguments, odd texts."""


@sample.command(
    help="Eat PEAR...\n\n\b\nExits: 5 when it is eaten;\n       7 when it may be.\n"
    "Example: pear eat -n 1\n\n\b\n   pear  eat --next\n  .dotted 'q'"
)
@click.argument("pear", required=False)
@click.option("-n", "--limit", type=int, default=50, show_default=True, help="At most so many.")
@click.option("--sort", type=click.Choice(["age", "by-size"]), help='Sort "well". Twice.')
@click.option("--secret", hidden=True)
@common
def eat():
    """Replaced by `help`."""


@sample.group()
def tree():
    """Trees."""


@tree.command("add", help="Add a tree.\f\nNot for readers.")
@writing
def add_tree():
    """Replaced by `help`."""


@tree.command("rm", help="Fell a tree.")
@writing
def remove_tree():
    """Replaced by `help`."""


@sample.command(hidden=True)
def inner():
    """Not for people."""


@pytest.fixture
def page():
    """The sample's page."""
    return manual.page("pear", sample)


def rendered(source):
    """What a reader of the page sees."""
    command = ["mandoc", "-T", "utf8", "-O", "width=78"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    # Bold and underlined characters are struck over one another.
    return re.sub(".\x08", "", done.stdout)


def lint(source):
    """What mandoc finds to say about a page."""
    command = ["mandoc", "-T", "lint", "-W", "all"]
    said = subprocess.run(command, input=source, capture_output=True, text=True).stdout
    # Our own pages name each other, and need not be installed where tests run.
    return "".join(x for x in said.splitlines(True) if "referenced manual not found" not in x)


def test_a_page_is_clean(page, need):
    need("mandoc")

    assert lint(page) == ""


def test_a_page_shows_every_verb_with_usage_help_and_options(page, need):
    """Options that all verbs have, or all that write, come once; hidden things never."""
    need("mandoc")
    text = rendered(page)

    assert "pear eat [OPTIONS] [PEAR]" in text
    assert "Exits   5 when it is eaten; 7 when it may be.\n" in text
    assert "Example\n             pear eat -n 1\n" in text
    assert "-n, --limit INTEGER" in text
    assert "--sort [age|by-size]" in text
    assert 'Sort "well".' in text
    assert "pear tree add [OPTIONS]" in text
    assert text.count("--as AGENT") == 1
    assert text.count("--dry-run") == 1
    assert "What writes takes these too (tree add, tree rm):" in text
    assert "secret" not in text
    assert "inner" not in text
    assert "Not for readers" not in text


def test_odd_texts_come_out_as_they_went_in(page, need):
    need("mandoc")
    text = rendered(page)

    assert "A \\ in 'text'… costs ~0." in text
    assert "Really (yes.)" in text
    assert "\n            pear  eat --next\n           .dotted 'q'\n" in text


def test_a_page_is_ascii(page):
    """So it reads the same whatever the locale."""
    assert page.isascii()


def test_a_page_tells_every_status_code_and_variable(page):
    variables = {value for name, value in vars(environment).items() if name.isupper()}

    assert variables <= set(manual.ENVIRONMENT)
    assert [s for s in STATUSES if f".It Sy {s}\n" not in page] == []
    assert [code for code in CODES if f".It Sy {code}\n" not in page] == []


def test_a_tool_that_does_not_exist_has_no_page(capsys):
    assert manual.main(["pear"]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("tool", manual.TOOLS)
def test_the_page_in_the_project_is_what_the_tool_says(tool):
    """Make it again with: python -m coord.cli.manual TOOL > man/TOOL.1"""
    command = [sys.executable, "-m", "coord.cli.manual", tool]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert (ROOT / "man" / f"{tool}.1").read_text() == made


@pytest.mark.parametrize("page", sorted((ROOT / "man").glob("*.[0-9]")), ids=lambda p: p.name)
def test_a_page_in_the_project_is_clean_and_renders(page, need):
    need("mandoc", "man")
    shown = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True)

    assert lint(page.read_text()) == ""
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "DESCRIPTION" in shown.stdout
