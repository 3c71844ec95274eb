// Fencing's rules, records and agents, tested where they are written: in Python, with agents that are programs of their own.

import { runSuites } from "./python-suites.ts";

runSuites("hotpair-fence", "fence_tests", 60_000);
