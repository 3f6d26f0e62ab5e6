"""The documentation site: `sphinx-build -W docs docs/_build`, with the extras `docs` and `test`."""

import importlib
import pkgutil
import re
import sys
import typing

from sphinx.application import Sphinx

from edgegap_async import __version__, models
from edgegap_async.simulator import Simulator as Simulator

# The pages show structs with the types that a caller sees. But the simulator, which is
# imported above, needs those of the wire.
typing.TYPE_CHECKING = True
for module in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
    sys.modules.pop(module.name, None)
for module in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
    importlib.import_module(module.name)
typing.TYPE_CHECKING = False

project = "edgegap_async"
copyright = "the edgegap_async authors"  # noqa: A001 - the name that Sphinx reads
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Links to headings, as GitHub shows them too.
myst_heading_anchors = 3

# A name between backticks in a docstring is a link, if it has a page.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = False
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Attributes are described in the docstring of their class.
napoleon_use_ivar = True
python_maximum_signature_line_length = 80
# The site builds without a network.
intersphinx_mapping: dict[str, tuple[str, None]] = {}

html_theme = "furo"
html_title = f"edgegap_async {release}"
html_static_path: list[str] = []


# Stands for a colon that napoleon is not to see.
COLON = "\N{NULL}"
# A page, as docstrings name it.
PAGE = re.compile(r"`?\bdocs/([\w/-]+)\.md`?")
# Several attributes with one text, and how its further lines begin.
GROUP, DEEPER = re.compile(r"    (\w+(?:, \w+)+): (.*)"), " " * 5


def setup(app: Sphinx) -> None:
    """Change what autodoc has found, before and after napoleon (500) reads the sections."""
    app.connect("autodoc-process-docstring", _plain_properties, priority=300)
    app.connect("autodoc-process-docstring", _literal_blocks, priority=400)
    app.connect("autodoc-process-docstring", _odd_entries, priority=450)
    app.connect("autodoc-process-docstring", _colons_and_pages, priority=600)
    app.connect("autodoc-process-signature", _made_defaults)


def _made_defaults(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Sphinx can't read a signature with `<factory>`, the default that a struct makes."""
    return signature and signature.replace("<factory>", "..."), returned


def _plain_properties(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Napoleon takes what stands before a colon in the first line for a type. Aliases of
    types have the docstring of their class.
    """
    if what == "data":
        lines.clear()
    elif what in ("property", "attribute") and lines:
        lines[0] = lines[0].replace(":", COLON)


def _odd_entries(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Napoleon can't read "first, second: text" of attributes, and takes the beginning of
    what is returned for a type if a colon follows.
    """
    found: list[str] = []
    section, names, entry = "", [""], [""]
    for line in [*lines, ""]:
        if line and not line.startswith(" "):
            section = line
        elif section == "Returns:":
            line = line.replace(":", COLON)
        if names[0] and not line.startswith(DEEPER):
            # The end of an entry.
            for each in names:
                found += [f"    {each}: {entry[0]}", *entry[1:]]
            names = [""]
        group = GROUP.fullmatch(line) if section == "Attributes:" else None
        if group:
            names, entry = group[1].split(", "), [group[2]]
        elif names[0]:
            entry.append(line)
        else:
            found.append(line)
    lines[:] = found


def _colons_and_pages(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = [PAGE.sub(r":doc:`/\1`", line).replace(COLON, ":") for line in lines]


def _literal_blocks(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Read indented blocks of docstrings as they are: they are code, or tables."""
    found: list[str] = []
    last = ""
    for line in lines:
        indented = line.startswith(" ")
        if indented and not found[-1].strip() and not last.startswith(" "):
            found += ["::", ""]
        found.append(line)
        last = line if line.strip() else last
    lines[:] = found
