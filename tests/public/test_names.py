"""The public package: what it exports, and that nothing is loaded before it is used."""

import subprocess
import sys

import genie_connect


def test_every_public_name_can_be_imported() -> None:
    """Each name of ``__all__`` leads somewhere, and ``dir`` lists it."""
    for name in genie_connect.__all__:
        assert getattr(genie_connect, name) is not None
        assert name in dir(genie_connect)


def test_the_table_of_homes_and_all_agree() -> None:
    """No name is exported without a home, none has a home without being exported."""
    assert sorted(genie_connect._HOMES) == sorted(genie_connect.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    missing = getattr(genie_connect, "Hsot", None)
    assert missing is None


def test_importing_the_package_loads_none_of_it() -> None:
    """``import genie_connect`` costs next to nothing; the host comes with the first use of its name."""
    code = "import genie_connect, sys; print('genie_connect.host' in sys.modules, 'pluggy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
