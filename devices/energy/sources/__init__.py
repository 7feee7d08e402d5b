"""One file (or folder) per energy source: it speaks the maker's protocol and delivers fields of the one Reading."""
