"""The web base: rendering, sessions, CSRF, security headers and the live event stream."""
