// The lease's rules, settings and parts, tested where they are written: in Python, in virtual time wherever time matters.
// HOTPAIR_SCHEDULES=1000 runs that many random schedules.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-lease", "lease_tests", 600_000);
