"""The documentation site: `sphinx-build -W docs docs/_build`, with the extra `docs`."""

from sphinx.application import Sphinx

from edgegap_async import __version__

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


def setup(app: Sphinx) -> None:
    """Read indented blocks of docstrings as they are: they are code, or tables."""
    # Before napoleon reads the sections.
    app.connect("autodoc-process-docstring", _literal_blocks, priority=400)


def _literal_blocks(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    found: list[str] = []
    last = ""
    for line in lines:
        indented = line.startswith(" ")
        if indented and not found[-1].strip() and not last.startswith(" "):
            found += ["::", ""]
        found.append(line)
        last = line if line.strip() else last
    lines[:] = found
