"""The watcher (``manage.py watch_energy``): holds the sources' connections, keeps the latest reading, sheds load."""
