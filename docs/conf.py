"""Configures Sphinx, which `make docs` runs over the Markdown pages of the whole repository."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER / "_ext"), str(FOLDER.parent)]

from gan_cli import __version__  # noqa: E402

project = "gan-cli"
copyright = "the authors of gan-cli, MIT licence"
version = release = __version__
language = "en"

# The source folder is the repository, so that a link between pages is the same path here and on GitHub.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/LOG.md", "examples/**.md"]
exclude_patterns = [".[a-z]*", "build", "dist", "outputs", "docs/_build", "gan_cli", "configs", "tests"]

extensions = ["myst_parser", "sphinx_copybutton", "site_pages"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
copybutton_exclude = ".linenos, .gp, .go"
nitpicky = True

html_theme = "furo"
html_title = f"gan-cli {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_start"]  # an index.html that leads to the first page
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
