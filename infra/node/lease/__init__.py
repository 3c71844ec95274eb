"""hotpair-lease: at any instant at most one node of a pair has the right to write (docs/lease.md).

etcd is the authority; its members are both nodes and a witness. Rooms: `rules` decides (pure: no clock, no sockets),
`settings` reads what hotpair wrote, `etcd` speaks with one member, `writers` stops what writes, `journal` is what the
daemons say, `hold` and `observe` are the daemons, `epoch` starts a new epoch by force, `verbs` is what an operator and
other units call. It knows of no database: whatever writes is a systemd unit named in the settings. Python 3.9 or newer,
standard library only.
"""
