"""hotpair-mariadb: makes one of two MariaDB servers the primary and keeps the other ready to be.

Decisions are pure functions (rules.py, gtid.py); everything else carries them out. Who may write is not decided here:
that is the lease (hotpair-lease). Works on Python >= 3.9 with the standard library alone.
"""
