"""The pages a recipient sees: plain HTML that needs no script, for a phone first.

Not here: when which is shown (`public`).
"""

import base64
import hashlib
from html import escape

_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;margin:0;padding:2rem 1.25rem;color:#1c1c1e;"
    "background:#fff}main{max-width:32rem;margin:0 auto}h1{font-size:1.4rem;line-height:1.25}"
    "fieldset{border:0;padding:0;margin:1.5rem 0}label{display:block;padding:.6rem 0}"
    "input{width:1.2rem;height:1.2rem;margin:0 .6rem 0 0;vertical-align:-.2rem}"
    "button{font:inherit;font-weight:600;width:100%;padding:.9rem;border:0;border-radius:.5rem;"
    "color:#fff;background:#b3261e}"
    "@media(prefers-color-scheme:dark){body{color:#f2f2f7;background:#1c1c1e}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""What every page says to the browser: no script, nothing from elsewhere, nothing kept."""

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel."""


def ask(token: str) -> str:
    """The page with the one button that unsubscribes."""
    return _page(
        "Unsubscribe",
        f"""<p>Press the button and we stop writing to you.</p>
<form method="post" action="/u/{escape(token)}">
<fieldset>
<label><input type="radio" name="scope" value="everything" checked>Everything from this sender
</label>
<label><input type="radio" name="scope" value="campaign">Only this series of messages</label>
</fieldset>
<button type="submit">Unsubscribe</button>
</form>""",
    )


def done(everything: bool) -> str:
    """What is shown once the objection stands."""
    what = "You will get no more messages from us."
    if not everything:
        what = "You will get no more messages of this series."
    return _page("You are unsubscribed", f"<p>{what}</p>")


def unknown() -> str:
    """What a link leads to that we did not make."""
    return _page("Not found", "<p>This link is incomplete or not ours.</p>")


def later() -> str:
    """What is shown where nothing can be done for the moment."""
    return _page("Please try again", "<p>This does not work just now. Try again in a minute.</p>")


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body><main>
<h1>{title}</h1>
{body}
</main></body>
</html>
"""
