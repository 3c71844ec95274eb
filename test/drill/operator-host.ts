// A host of the lab as an operator's: the project copied to it with what `hotpair drill` needs of npm, and a stack whose
// servers it reaches by SSH. systemd is its first process, so that a timer there is a real one.

import { copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stackTextFor } from "../../infra/cli/lab-pair.ts";
import { consoleRun, type Lab, type NodeName } from "../../infra/lab/lab.ts";

const SOURCE = join(import.meta.dirname, "../..");
const PROJECT = "/opt/hotpair";
const KEY = "/root/.ssh/operator";
/** Of npm: Node itself, and what the command loads before it knows which pair it drills. */
const PACKAGES = ["node", "commander", "handlebars", "neo-async", "source-map", "wordwrap", "yaml", "zod"];

export interface OperatorHost {
  /** Runs `hotpair ARGS` on the host's console and answers what it printed. */
  hotpair(...args: readonly string[]): Promise<string>;
  /** Any other command there. */
  run(...argv: readonly string[]): Promise<string>;
  /** A path of the host as this machine sees it. */
  path(inside: string): string;
}

/** Where drills of the stack keep what they measured, inside the host. */
export const EVIDENCE = join(PROJECT, "evidence");

/** `stack`: what the pair of this lab is called there. */
export function operatorHost(lab: Lab, name: NodeName, stack: string): OperatorHost {
  const { pid } = lab.hosts[name];
  if (pid === undefined) throw new Error(`${name} is off`);
  const path = (inside: string) => join(`/proc/${pid}/root`, inside);
  for (const part of ["bin", "infra", "templates", "Pulumi.yaml", "package.json"])
    cpSync(join(SOURCE, part), path(join(PROJECT, part)), { recursive: true });
  for (const one of PACKAGES)
    cpSync(join(SOURCE, "node_modules", one), path(join(PROJECT, "node_modules", one)), { recursive: true });
  mkdirSync(path(join(PROJECT, "stacks")));
  writeFileSync(
    path(join(PROJECT, `stacks/Pulumi.${stack}.yaml`)),
    stackTextFor(lab).replace(/keyFile: .*/g, `keyFile: ${KEY}`),
  );
  copyFileSync(lab.keyFile, path(KEY));
  const run = (...argv: readonly string[]) => consoleRun(lab, name, argv);
  const node = join(PROJECT, "node_modules/node/bin/node");
  return { path, run, hotpair: (...args) => run(node, join(PROJECT, "bin/hotpair.mjs"), ...args) };
}
