"""``make demo``: all of Hygate on one machine, against its simulators. Nothing here runs on a real site."""
