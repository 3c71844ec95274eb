// The lab's power switch: what a power controller is to real servers. A process of this machine, one per lab with a witness,
// that turns a host off and on for whoever has the lab's key; the fence agent `lab` on the hosts speaks to it
// (infra/node/fence/lab.py). Started and ended with the lab. How power is cut is in faults.ts.
//
// usage: power-switch.ts hotpair-lab:STATE_DIR hotpair-power-switch:INDEX

import { createServer, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { powerCut } from "./faults.ts";
import { powerKey } from "./keys.ts";
import { findLab, type Lab, startHost } from "./lab.ts";
import { type HostName, hostNames, powerSwitchOf } from "./layout.ts";
import { hostKeeper } from "./processes.ts";

const PATIENCE_MS = 10_000;

/** One JSON line, answered by `{"power":"on"|"off"}` or `{"error":…}`. */
interface Request {
  readonly key: string;
  readonly host: HostName;
  readonly action: "on" | "off" | "status";
}

const stateDir = (process.argv[2] ?? "").replace(/^hotpair-lab:/, "");
const index = Number((process.argv[3] ?? "").split(":")[1]);
// The cache that this lab is in, whatever the environment of whoever started it.
process.env.HOTPAIR_CACHE = dirname(dirname(stateDir));

/** One act at a time. */
let last: Promise<unknown> = Promise.resolve();

const { address, port } = powerSwitchOf(index);
createServer(serve).listen({ host: address, port });

function serve(caller: Socket): void {
  caller.setTimeout(2 * PATIENCE_MS, () => caller.destroy());
  const lines = createInterface(caller);
  // A caller that loses power resets its connection; the interface hands that on as an error of its own.
  for (const each of [caller, lines]) each.on("error", () => undefined);
  lines.once("line", (line) => {
    const answer = last.then(() => answerTo(line));
    last = answer;
    answer.then((said) => caller.end(`${JSON.stringify(said)}\n`));
  });
}

/** Never rejects. */
async function answerTo(line: string): Promise<Readonly<Record<string, string>>> {
  try {
    const { key, host, action } = JSON.parse(line) as Request;
    if (key !== powerKey(index)) return { error: "not the key of this lab" };
    if (!hostNames.includes(host)) return { error: `no host ${host} here` };
    const lab = findLab(basename(stateDir));
    if (lab === undefined) return { error: "the lab is not up" };
    if (action === "off") await off(lab, host);
    if (action === "on") await startHost(lab, host);
    return { power: hostKeeper(lab, host) === undefined ? "off" : "on" };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

/** Until it is off: a host that is just booting has nothing yet whose power could be cut. */
async function off(lab: Lab, host: HostName): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (hostKeeper(lab, host) !== undefined) {
    try {
      await powerCut(lab, host);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
