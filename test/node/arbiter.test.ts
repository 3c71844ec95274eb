// The arbiter's rules, wire format, lock and gates, tested where they are written: in Python, in virtual time wherever
// time matters.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-arbiter", "arbiter_tests", 120_000);
