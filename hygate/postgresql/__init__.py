"""Django's PostgreSQL backend, but for how it finds out whether a connection still lives: see ``base``."""
