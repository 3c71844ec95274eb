"""Moves the pair's address in AWS to the node that holds it by VRRP's word, and sees that it stays there.

What decides who is active is elsewhere (arbiter, lease); nothing here grants or takes the role. Rooms: `settings` reads
what hotpair wrote, `move` is the four ways to move an address, `keep` the loop, `verbs` what a unit and an operator
call; the package `aws` beside it calls AWS. Python 3.9 or newer, standard library only.
"""
