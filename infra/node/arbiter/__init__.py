"""hotpair-arbiter: sees that a pair of servers has one owner of each virtual address (VIP), never two.

keepalived owns the VIP and needs nobody's consent for it. This package vetoes: it holds, per VIP, a gate that
keepalived reads, and closes it only on fresh, positive evidence. Rooms: `rules` and `lock` decide (pure), `beacon` is
what the two nodes tell each other and `exchange` sends and hears it, `gate` carries a veto out and lets it expire,
`kernel` talks to the kernel, `interfaces`, `keepalived`, `haproxy` and `neighbours` observe, `scribe` does what is
slow, `loop` waits, `control` hears the verbs, `daemon` ties them together, `verbs` is what an operator calls. Python
3.9 or newer, standard library only.
"""

VERSION = "0.1.0"
