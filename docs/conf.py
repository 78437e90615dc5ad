"""Sphinx settings: ``sphinx-build docs docs/_build`` with the extra ``docs``."""

project = "Apportion"
author = "The Apportion authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
nb_execution_mode = "off"
exclude_patterns = ["_build"]
