"""The page at `/ui`: its files, what it is told while somebody looks at it, and what ordinary keys may see of it.

    GET /ui                      the page; asks for no key, as it holds nothing
    GET /ui/v/{version}/{file}   its files, for ever the same
    GET /ui/live                 server-sent events: how things stand, as it changes (`serve.ui.live`)
    GET /ui/spend, /ui/budgets   what a key has spent, and may: its own alone

All else the page asks of the admin API and of `/v1`, with the key that its user typed.
"""

from serve.ui.page import PREFIX, Page

__all__ = ["PREFIX", "Page"]
