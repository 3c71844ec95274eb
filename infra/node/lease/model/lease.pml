/*
 * The lease, the gate and systemd's stops, as a model that Spin checks exhaustively: never two writers.
 *
 * Two guards end a holder that is no longer acknowledged, and each must be enough without the other. So there are two
 * models: without PAUSES the holder's own deadline is checked, and there is no watchdog; with PAUSES the process may stand
 * still at any moment and for any time, keeps no deadline, and only systemd's watchdog is left.
 *
 * One tick is one unit of time. The figures are small ones that keep every relation of the rule at its limit: T is the
 * smallest that the rule allows, so that T - 1 must fail. What is modelled and what is assumed stands in docs/lease.md. The
 * rules themselves are in ../rules.py; names are the same where they can be.
 *
 * Everything outside is free: a request may be lost, or carried out at any later moment, whoever still waits for it; an
 * answer may be lost or late; a holder may be killed at any moment; a gate may open and close at any moment, so that
 * nothing here depends on its evidence; a stop takes any time up to its timeout; one clock may be slower than the other.
 *
 * Each BAD_... breaks one rule on purpose (scripts/model-check.mjs), and Spin must find two writers.
 */

#define RPC 1        /* longest wait for an answer that counts */
#define D   2        /* the holder's own deadline, from before the sending */
#ifndef W
#define W   1        /* systemd's watchdog, from the last prompt acknowledgement */
#endif
#define SL  1        /* TimeoutStopSec of the lease's unit */
#define SW  1        /* stop of what writes: S is SL + SW */
#define SLIP 1       /* ticks that the clock of node 0 loses at most, from a renewal to the end of the stop: the drift */

/* More than max(D, RPC + W) + S + drift, of which a model has one side. */
#ifdef PAUSES
#define LONGEST (RPC + W + SL + SW + SLIP)
#else
#define LONGEST (D + SW + SLIP)
#endif
#ifdef BAD_TAKEOVER
#define T LONGEST
#else
#define T (LONGEST + 1)
#endif

#define OFF 0        /* of a holder's process: none */
#define CAMPAIGN 1
#define HOLD 2
#define ASKED 3      /* SIGTERM came, and it stands still: systemd counts TimeoutStopSec */
#define RELEASE 4

#define NONE 0       /* of what writes */
#define WRITING 1
#define STOPPING 2

#define NOTHING 0    /* of a request */
#define RENEWAL 1
#define TAKE 2
#define GIVE 3       /* the release */
#define ALONE 4
#define TOGETHER 5

#define WAY 0        /* of a request: on its way to etcd, or answered */
#define YES 1
#define NO 2

/* etcd: what its keys say. The counter is not kept: all that matters of it is whether it changed. */
byte holder = 0;     /* 0, or called(node, name) of a process */
byte insync = 3;     /* a bit per node */

byte process[2];
bit  name[2];        /* of the node's process; two names per node, taken in turn */
byte left[2];        /* ticks until the deadline, or until the watchdog or TimeoutStopSec kills */
byte writer[2];
bit  stopped[2];     /* the time of its stop is over */
bit  seen[2];        /* holder and counter are what this node saw */
byte waited[2];      /* ticks since it saw them */
bit  solo[2];        /* knows that etcd lists this node alone, and that no request of its own may change that */
bit  slipped;        /* the slow clock has lost its tick */

/* The request that the process waits for. */
byte kind[2];
byte stage[2];
byte age[2];         /* ticks of the sender's clock since it was sent */
bit  current[2];     /* holder and counter are still what the sender saw */
bit  list[2];        /* insync is still what the sender saw */

/* One that nobody waits for any more, and that may still be carried out. */
byte g_kind[2];
bit  g_name[2];
bit  g_current[2];
bit  g_list[2];

#define other(i) (1 - i)
#define called(i, n) (1 + 2 * i + n)
#define of_node(i) (holder != 0 && (holder - 1) / 2 == i)
#define listed(i) ((insync >> i) & 1)

#ifdef BAD_RELEASE
#define gone(i) true
#else
#define gone(i) (writer[i] == NONE)
#endif
#ifdef BAD_COMPARE
#define unchanged(now) true
#else
#define unchanged(now) (now)
#endif
#ifdef BAD_START
#define may_start(i) (process[i] == OFF)
#else
#define may_start(i) (process[i] == OFF && writer[i] == NONE)
#endif
#ifdef BAD_LIST
#define may_take(i) true
#else
#define may_take(i) listed(i)
#endif
#ifdef BAD_READY
#define prompt_take(i) true
#else
#define prompt_take(i) (age[i] <= RPC)
#endif
#ifdef BAD_FEED
#define prompt(i) true
#else
#define prompt(i) (age[i] <= RPC)
#endif

inline changed() {
  seen[0] = 0; seen[1] = 0; waited[0] = 0; waited[1] = 0;
  current[0] = 0; current[1] = 0; g_current[0] = 0; g_current[1] = 0
}

inline relisted() { list[0] = 0; list[1] = 0; g_list[0] = 0; g_list[1] = 0 }

inline forget(i) { kind[i] = NOTHING; stage[i] = WAY; age[i] = 0; current[i] = 0; list[i] = 0 }

inline forget_ghost(i) { g_kind[i] = NOTHING; g_name[i] = 0; g_current[i] = 0; g_list[i] = 0 }

/* What a process no longer waits for may still be under way. An older one of that sort counts as lost. */
inline leave(i) {
  if
  :: kind[i] != NOTHING && stage[i] == WAY ->
     g_kind[i] = kind[i]; g_name[i] = name[i]; g_current[i] = current[i]; g_list[i] = list[i]
  :: else
  fi;
  forget(i)
}

inline send(i, what) {
  kind[i] = what; stage[i] = WAY; age[i] = 0;
  current[i] = (what == TAKE && seen[i]);
  list[i] = (what == ALONE || what == TOGETHER)
}

/* What is bound to the lease is stopped, by the holder's own cgroup.kill or by systemd. */
inline end_writer(i) {
  if
  :: writer[i] == WRITING -> writer[i] = STOPPING; stopped[i] = 0
  :: else
  fi
}

inline end_process(i) {
  leave(i);
  process[i] = OFF; left[i] = 0; seen[i] = 0; waited[i] = 0; solo[i] = 0;
  end_writer(i)
}

/* etcd carries a request out, as one transaction; `done` says whether its compares held. */
inline carry_out(i, what, who, cur, lst, done) {
  if
  :: what == RENEWAL && holder == called(i, who) -> changed(); done = true
  :: what == TAKE && unchanged(cur) && may_take(i) -> holder = called(i, who); changed(); done = true
  :: what == GIVE && holder == called(i, who) -> holder = 0; changed(); done = true
  :: what == ALONE && holder == called(i, who) && lst -> insync = 1 << i; changed(); relisted(); done = true
  :: what == TOGETHER && holder == called(i, who) && lst -> insync = 3; changed(); relisted(); done = true
  :: else -> done = false
  fi
}

inline acknowledge(i) {
#ifdef PAUSES
  if :: prompt(i) -> left[i] = W :: else fi
#else
#ifdef BAD_DEADLINE
  left[i] = D
#else
  if :: D - age[i] > left[i] -> left[i] = D - age[i] :: else fi
#endif
#endif
}

/* The holder's process, when it runs, with systemd and the network beside it. */
proctype node(byte i) {
  bit done;
  do
  /* --- the gate opens and the chain is started; with --job-mode=fail not before the last stop has ended */
  :: d_step { may_start(i) ->
       process[i] = CAMPAIGN; name[i] = 1 - name[i];
       /* names are never used again: a request that is older than the last process counts as lost */
       if :: g_kind[i] != NOTHING && g_name[i] == name[i] -> forget_ghost(i) :: else fi;
       if :: i == 0 -> slipped = 0 :: else fi;
#ifdef BAD_START
       /* a start that replaces the pending stop cancels it: what was to stop writes on */
       if :: writer[i] == STOPPING -> writer[i] = WRITING; stopped[i] = 0 :: else fi;
#endif
       skip }

  /* --- campaign: look; T counts from the first sight of what is there */
  :: d_step { process[i] == CAMPAIGN && !seen[i] && kind[i] == NOTHING -> seen[i] = 1; waited[i] = 0 }
  :: d_step { process[i] == CAMPAIGN && seen[i] && kind[i] == NOTHING && may_take(i) &&
       (holder == 0 || of_node(i) || waited[i] >= T) -> send(i, TAKE) }
  :: d_step { process[i] == CAMPAIGN && kind[i] == TAKE && stage[i] != WAY ->
       if
       :: stage[i] == YES && prompt_take(i) ->
          process[i] = HOLD; solo[i] = (insync == (1 << i)); seen[i] = 0; waited[i] = 0;
#ifdef PAUSES
          left[i] = W
#else
          left[i] = D - age[i]
#endif
       :: else
       fi;
       forget(i) }

  /* --- hold: renew; the list is changed by renewals, too */
  :: d_step { process[i] == HOLD && kind[i] == NOTHING -> send(i, RENEWAL) }
  :: d_step { process[i] == HOLD && kind[i] == NOTHING -> solo[i] = 0; send(i, ALONE) }
  :: d_step { process[i] == HOLD && kind[i] == NOTHING && left[i] > 0 ->
#ifndef BAD_SOLO
       solo[i] = 0;
#endif
       send(i, TOGETHER) }
  :: d_step { process[i] == HOLD && kind[i] != NOTHING && stage[i] == YES ->
       acknowledge(i);
       if
       :: kind[i] == ALONE -> solo[i] = 1
       :: kind[i] == TOGETHER -> solo[i] = 0
       :: else
       fi;
       forget(i) }
  :: d_step { process[i] == HOLD && kind[i] != NOTHING && stage[i] == NO ->
       if
       :: holder != called(i, name[i]) -> end_process(i)
       :: else -> forget(i)
       fi }
  /* promotion: READY=1 was sent, and systemd starts what writes */
  :: d_step { process[i] == HOLD && writer[i] == NONE ->
       writer[i] = WRITING;
       /* One writer at most, counted until the last of its processes has ended. */
       assert(writer[other(i)] == NONE) }

  /* --- the deadline, the watchdog, TimeoutStopSec; kill -9 by anybody, at any time */
  :: d_step { (process[i] == HOLD && left[i] == 0 && !solo[i]) || (process[i] == ASKED && left[i] == 0) -> end_process(i) }
  :: d_step { process[i] != OFF -> end_process(i) }

  /* --- the gate closes, or somebody stops the chain: what writes first, then the lease */
  :: d_step { process[i] == CAMPAIGN -> leave(i); process[i] = RELEASE; seen[i] = 0; waited[i] = 0 }
  :: d_step { process[i] == HOLD || process[i] == ASKED ->
       leave(i); process[i] = RELEASE; end_writer(i); left[i] = 0; solo[i] = 0 }
#ifdef PAUSES
  /* It stands still and does not hear it: from here on TimeoutStopSec counts, and the watchdog no longer. */
  :: d_step { process[i] == HOLD -> leave(i); process[i] = ASKED; left[i] = SL; solo[i] = 0 }
#endif
  :: d_step { process[i] == RELEASE && kind[i] == NOTHING && gone(i) -> send(i, GIVE) }
  :: d_step { process[i] == RELEASE && kind[i] == GIVE && stage[i] != WAY -> end_process(i) }

  /* --- a stop ends, at its timeout or before */
  :: d_step { writer[i] == STOPPING -> writer[i] = NONE; stopped[i] = 0 }

  /* --- the network and etcd: what is never carried out was lost */
  :: d_step { kind[i] != NOTHING && stage[i] == WAY ->
       carry_out(i, kind[i], name[i], current[i], list[i], done);
       if :: done -> stage[i] = YES :: else -> stage[i] = NO fi; done = 0 }
  :: d_step { g_kind[i] != NOTHING ->
       carry_out(i, g_kind[i], g_name[i], g_current[i], g_list[i], done); done = 0; forget_ghost(i) }
  :: d_step { kind[i] != NOTHING && stage[i] == WAY -> leave(i) }
  :: d_step { kind[i] != NOTHING && stage[i] != WAY -> forget(i) }
  od
}

#ifdef PAUSES
#define OLDEST (RPC + 1)
#define late(i) ((process[i] == HOLD && left[i] == 0 && !solo[i]) || (process[i] == ASKED && left[i] == 0) || \
                 (writer[i] == STOPPING && stopped[i]))
#else
/* A process that runs does not wait longer for an answer than RPC. */
#define OLDEST RPC
#define late(i) ((process[i] == HOLD && left[i] == 0 && !solo[i]) || (kind[i] != NOTHING && age[i] == RPC + 1) || \
                 (writer[i] == STOPPING && stopped[i]))
#endif

inline pass(i) {
  if
#ifdef PAUSES
  /* Alone in sync, it feeds the watchdog without an answer, if it runs; if it does not, it is killed, which is always
     possible here. */
  :: process[i] == HOLD && solo[i] -> left[i] = W
#endif
  :: else -> if :: left[i] > 0 -> left[i]-- :: else fi
  fi;
  if :: writer[i] == STOPPING -> stopped[i] = 1 :: else fi;
  if :: seen[i] && process[i] == CAMPAIGN && waited[i] < T -> waited[i]++ :: else fi;
  if :: kind[i] != NOTHING && age[i] <= OLDEST -> age[i]++ :: else fi
}

/* Time passes when nothing is overdue that somebody keeps: a process that runs, systemd, the kernel's kill. */
proctype clock() {
  do
  :: d_step { !late(0) && !late(1) -> pass(0); pass(1) }
  :: d_step { !late(0) && !late(1) && !slipped &&
       (process[0] == HOLD || process[0] == ASKED || writer[0] == STOPPING) -> slipped = 1; pass(1) }
  od
}

init { atomic { run node(0); run node(1); run clock() } }
