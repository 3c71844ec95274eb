// A server as a drill reaches it: commands over SSH as everywhere, and in the lab also its power, cables and console. The
// one place in this room that knows whether the pair stands in the lab.

import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { consolePrefix, findLab, type Lab, labNames, type NodeName } from "../lab/lab.ts";
import { NODE_IDS, type Node, type NodeId, type Pair, type SecretRef } from "../model/pair.ts";
import { sshTargetOf } from "../ssh/reach.ts";
import { type RunResult, run, runOrThrow, type SshTarget, spawnStream } from "../ssh/run.ts";
import type { Ground } from "./scenario.ts";

export interface Host {
  readonly node: Node;
  readonly target: SshTarget;
  /** Name in the lab; undefined on real servers. */
  readonly labName: NodeName | undefined;
}

export interface Place {
  readonly pair: Pair;
  readonly lab: Lab | undefined;
  readonly hosts: Readonly<Record<NodeId, Host>>;
}

const LAB_NAMES: Readonly<Record<NodeId, NodeName>> = { a: "node-a", b: "node-b" };

/**
 * Finds out where the pair stands: a lab on this machine whose hosts have the addresses and host keys of the stack, or
 * servers. `secrets` is asked only for private SSH keys that the stack keeps.
 */
export async function placeOf(pair: Pair, secrets: (ref: SecretRef) => string): Promise<Place> {
  const labs = (await labNames()).map((name) => findLab(name)).filter((lab) => lab !== undefined);
  const lab = labs.find((candidate) =>
    pair.nodes.every((node) => {
      const host = candidate.hosts[LAB_NAMES[node.id]];
      return host.address.public === node.ssh.host && sameKey(host.hostKey, node.ssh.hostKey);
    }),
  );
  const hosts = Object.fromEntries(
    pair.nodes.map((node) => [
      node.id,
      { node, target: sshTargetOf(node, secrets), labName: lab ? LAB_NAMES[node.id] : undefined },
    ]),
  ) as Record<NodeId, Host>;
  return { pair, lab, hosts };
}

const sameKey = (one: string, other: string): boolean =>
  one.trim().split(/\s+/).slice(0, 2).join(" ") === other.trim().split(/\s+/).slice(0, 2).join(" ");

export function groundOf({ lab }: Place): Ground {
  if (lab === undefined) return "servers";
  return lab.hosts["node-a"].kind === "machine" ? "machines" : "containers";
}

/** Whether the servers read the clock that this process reads. */
export const sharesClock = (place: Place): boolean => groundOf(place) === "containers";

/** Milliseconds between two looks of an observer: an emulated processor would do nothing else at the usual 10. */
export const lookMs = (place: Place): number => (groundOf(place) === "machines" ? 50 : 10);

/** Runs POSIX shell as root; rejects when it fails or takes too long. */
export const shell = (host: Host, script: string, timeoutMs = 60_000): Promise<string> =>
  runOrThrow(host.target, "sh -s", { input: script, timeoutMs, becomeRoot: true });

/** The same, whatever the exit code is. `onLine` gets standard output as it arrives: what ends a connection ends its result. */
export const tryShell = (
  host: Host,
  script: string,
  timeoutMs = 60_000,
  onLine: (line: string) => void = () => undefined,
): Promise<RunResult> =>
  run(host.target, "sh -s", {
    input: script,
    timeoutMs,
    becomeRoot: true,
    onLine: (line, from) => from === "stdout" && onLine(line),
  });

/**
 * Starts a program that goes on until its standard input closes. In the lab on the host's console, so that a cut network
 * does not blind the observer; undefined while the host is off.
 */
export async function stream(place: Place, id: NodeId, argv: readonly string[]): Promise<ChildProcess | undefined> {
  const host = place.hosts[id];
  if (place.lab !== undefined && host.labName !== undefined) {
    if (place.lab.hosts[host.labName].pid === undefined) return undefined;
    const [program = "", ...words] = [...consolePrefix(place.lab, host.labName), ...argv];
    return spawn(program, words, { stdio: ["pipe", "pipe", "ignore"] });
  }
  return spawnStream(host.target, argv.map(quote).join(" "), { becomeRoot: true });
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Both nodes at once, in the order of the stack file. */
export const onBoth = <T>(place: Place, work: (host: Host, id: NodeId) => Promise<T>): Promise<T[]> =>
  Promise.all(NODE_IDS.map((id) => work(place.hosts[id], id)));
