// Questions to the servers of a pair: who is active, whose a server is, what stands in its files. A witness serves one or
// several pairs, each with books and programs of its own: `witnessOf` names the pair that is meant. Answers come within a
// deadline or count as silence; nothing here changes a server.

import type { NodeId } from "../model/pair.ts";
import type { Drift, FileFacts, Manifest, Role, ServerState } from "../model/server.ts";
import { run, runOrThrow } from "./run.ts";
import type { SshTarget } from "./target.ts";

const ROLE_DEADLINE_MS = 10_000;
const OWNER_DEADLINE_MS = 6_000;
const SURVEY_DEADLINE_MS = 60_000;

const applyOf = (witnessOf: string | undefined): readonly [program: string, command: string] => {
  const program = `/usr/lib/hotpair/${witnessOf === undefined ? "" : `pairs/${witnessOf}/`}hotpair-apply`;
  return [program, witnessOf === undefined ? program : `${program} --pair ${witnessOf}`];
};
const ARBITER = "/usr/lib/hotpair/hotpair-arbiter";

/** Both nodes at once. A node that does not answer within 2 s, or has no arbiter yet, is `silent`. */
export async function rolesOf(targets: Readonly<Record<NodeId, SshTarget>>): Promise<Record<NodeId, Role>> {
  const [a, b] = await Promise.all([roleOf(targets.a), roleOf(targets.b)]);
  return { a, b };
}

async function roleOf(target: SshTarget): Promise<Role> {
  try {
    return roleIn(await runOrThrow(target, `${ARBITER} role`, { timeoutMs: ROLE_DEADLINE_MS, becomeRoot: true }));
  } catch {
    return "silent";
  }
}

const roleIn = (said: string): Role => {
  const word = said.trim();
  return word === "active" || word === "standby" ? word : "silent";
};

/** The node to change first: the standby. A silent node counts as one, so that it is tried before the active is touched. */
export const firstToChange = (roles: Readonly<Record<NodeId, Role>>): NodeId =>
  roles.a === "active" && roles.b !== "active" ? "b" : "a";

/** The owner token in the server's manifest; undefined when hotpair has installed nothing there. Rejects with SshError. */
export async function ownerOf(target: SshTarget, witnessOf?: string): Promise<string | undefined> {
  const options = { timeoutMs: OWNER_DEADLINE_MS, becomeRoot: true };
  const manifest = `/var/lib/hotpair/${witnessOf === undefined ? "" : `pairs/${witnessOf}/`}manifest`;
  const { stdout } = await run(target, `sed -n 's/^resource //p' ${manifest}`, options);
  return stdout.trim() || undefined;
}

/** Everything that a plan with these paths and packages can be compared with. Rejects with SshError. */
export async function surveyServer(
  target: SshTarget,
  paths: readonly string[],
  packages: readonly string[],
  witnessOf?: string,
): Promise<ServerState> {
  const [program, apply] = applyOf(witnessOf);
  const script = [
    `if [ -x ${program} ]; then ${apply} manifest --json && ${apply} drift --json; else echo null; echo null; fi`,
    witnessOf === undefined ? `${ARBITER} role 2>/dev/null || echo silent` : "echo silent",
    "paths=$(cat)",
    "printf '%s\\n' \"$paths\" | xargs -r stat -L -c 'stat %a %U %G %F:%n' -- 2>/dev/null",
    "printf '%s\\n' \"$paths\" | xargs -r sha256sum -- 2>/dev/null | sed 's/^/sum /'",
    ...(packages.length > 0
      ? [`dpkg-query -W -f 'package \${Package} \${db:Status-Status}\\n' ${packages.join(" ")} 2>/dev/null`]
      : []),
    ":",
  ].join("\n");
  const input = paths.map((path) => `${path}\n`).join("");
  const said = await runOrThrow(target, script, { input, timeoutMs: SURVEY_DEADLINE_MS, becomeRoot: true });
  const [manifest = "null", drift = "null", role = "", ...facts] = said.split("\n");
  const installed = new Set(matches(facts, /^package (\S+) installed$/).map(([, name]) => name));
  return {
    role: roleIn(role),
    manifest: (JSON.parse(manifest) as Manifest | null) ?? NOTHING,
    drift: (JSON.parse(drift) as Drift | null) ?? { unfinished: false, files: [], units: [] },
    present: presentFiles(facts),
    missingPackages: packages.filter((name) => !installed.has(name)),
  };
}

const NOTHING: Manifest = { resource: null, digest: null, appliedAt: null, files: [], installedPackages: [] };

const matches = (lines: readonly string[], pattern: RegExp): RegExpExecArray[] =>
  lines.map((line) => pattern.exec(line)).filter((match) => match !== null);

function presentFiles(facts: readonly string[]): Map<string, FileFacts> {
  const sums = new Map(matches(facts, /^sum ([0-9a-f]{64}) {2}(.+)$/).map(([, sum = "", path = ""]) => [path, sum]));
  return new Map(
    matches(facts, /^stat (\d+) (\S+) (\S+) regular (?:empty )?file:(.+)$/).map(
      ([, mode = "", owner = "", group = "", path = ""]) => [
        path,
        { sha256: sums.get(path) ?? "", mode: mode.padStart(4, "0"), owner, group },
      ],
    ),
  );
}

/** Contents of files on the server; a path that cannot be read is left out. For texts that may be shown. */
export async function readFiles(target: SshTarget, paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (paths.length === 0) return new Map();
  const script = 'while read -r path; do [ ! -f "$path" ] || printf "%s %s\\n" "$path" "$(base64 -w0 "$path")"; done';
  const input = paths.map((path) => `${path}\n`).join("");
  const said = await runOrThrow(target, script, { input, timeoutMs: SURVEY_DEADLINE_MS, becomeRoot: true });
  return new Map(
    said
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const space = line.indexOf(" ");
        return [line.slice(0, space), Buffer.from(line.slice(space + 1), "base64").toString("utf8")];
      }),
  );
}
