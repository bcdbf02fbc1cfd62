"""What MkDocs does to the pages beside its own: formulas drawn without a script, files that are no pages as names."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
DISPLAY = {"(": "inline", "[": "block"}
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


class Examples(Extension):
    """Reads "Example:" in a docstring as the "Examples:" that griffe knows: doctests, not text."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link to a file of the checkout that is no page: its name alone, since the site has no such file."""
    folder = (DOCS / page.file.src_uri).parent

    def without_link(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        outside = DOCS not in target.parents or target.suffix == ".csv" or target.is_dir()
        return f"{found[1]} (`{target.relative_to(DOCS.parent)}`)" if outside and target.exists() else found[0]

    return LINK.sub(without_link, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw themselves."""
    html = FORMULA.sub(lambda found: convert(unescape(found[3]), display=DISPLAY[found[2]]), html)
    return html.replace('display="block">', 'display="block" tabindex="0">')  # the keyboard scrolls what is too wide


def on_post_page(output: str, **_: Any) -> str:
    """A name for the theme's search, which screen readers say."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')
