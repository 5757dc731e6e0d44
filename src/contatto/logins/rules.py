"""How many tries to log in there are, for whom, and how long what is known of them is kept."""

from datetime import timedelta
from typing import Final

TRIES: Final = 10
"""Tries to log in with one e-mail from one network; also those of a browser that a member used before."""
TRIES_OF_NETWORK: Final = 60
"""Tries from one network with any e-mail; both come back within the window."""
WINDOW: Final = timedelta(minutes=15)
TRIES_OF_EMAIL: Final = 100
"""Tries with one e-mail from wherever it never was used to sign in; they come back within a day."""
DAY: Final = timedelta(days=1)
FAILED_TRIES_DAYS: Final = 90
"""How long a member may be away and still be told of failed tries."""
KNOWN_DAYS: Final = 365
"""How long a browser or a network is known after a member signed in from there."""
