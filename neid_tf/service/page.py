"""A page that tells a person what the service answers, made of its OpenAPI description alone."""

from __future__ import annotations

import html
from typing import Any

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }
code, pre { background: #f3f3f3; padding: .1em .3em } pre { padding: .6em; overflow: auto }
table { border-collapse: collapse } td, th { text-align: left; padding: .2em .8em .2em 0 }
"""
_TRY = """
<h2>Try it</h2>
<form method="post" action="/v1/enhance" enctype="multipart/form-data">
<input type="file" name="file" required> <button>Enhance</button>
</form>
<pre>curl --data-binary @dark.jpg -o bright.jpg ADDRESS/v1/enhance</pre>
"""


def page(description: dict[str, Any], form: bool) -> str:
    """Return the page, in HTML; it loads nothing.

    Args:
        description: the service's OpenAPI description.
        form: whether a picture can be sent from the page; a browser has no key.
    """
    info, parts = description["info"], []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method.upper(), path, operation)
    title = html.escape(f"{info['title']} {info['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{html.escape(info.get('summary', ''))}. "
        f'For programs: <a href="/openapi.json">openapi.json</a>.</p>{"".join(parts)}'
        f"{_TRY if form else ''}</html>"
    )


def _operation(method, path, operation):
    yield f"<h2><code>{method} {html.escape(path)}</code></h2>"
    yield f"<p>{html.escape(operation.get('summary', ''))}. "
    yield f"{html.escape(operation.get('description', ''))}</p>"
    rows = [
        (row["name"], _values(row["schema"]), row.get("description", ""))
        for row in operation.get("parameters", ())
    ]
    yield _table(("parameter", "value", ""), rows)
    said = operation["responses"].items()
    yield _table(("status", ""), [(code, row.get("description", "")) for code, row in said])


def _values(schema):
    if "enum" in schema:
        text = ", ".join(map(str, schema["enum"]))
    else:
        text = f"{schema.get('minimum')} to {schema.get('maximum')}"
    return text + (f" (default: {schema['default']})" if "default" in schema else "")


def _table(heads, rows):
    if not rows:
        return ""
    lines = [f"<tr><th>{'<th>'.join(heads)}"]
    lines += [f"<tr><td>{'<td>'.join(html.escape(str(cell)) for cell in row)}" for row in rows]
    return f"<table>{''.join(lines)}</table>"
