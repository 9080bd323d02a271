"""What a filter of messages is written with: `from hubbub.filters import Draft, Verdict, refuse`.

`docs/howto/moderate.md` shows one. These names are kept; the modules beside `base` are the service's own.
"""

from hubbub.filters.base import Draft, Filter, Room, Sender, Verdict, allow, refuse, replace

__all__ = ["Draft", "Filter", "Room", "Sender", "Verdict", "allow", "refuse", "replace"]
