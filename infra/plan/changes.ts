// What applying a plan would do to a server: its files one by one, compared with what is there. Pure; asking the server is
// infra/ssh/survey.ts, applying is infra/node, and what a person gets to see is infra/cli.

import { createHash } from "node:crypto";
import type { NodePlan, OnChange, PlannedFile } from "../model/plan.ts";
import type { DriftedUnit, FileFacts, ServerState } from "../model/server.ts";

export interface FileChange {
  readonly path: string;
  /** `permissions`: owner or mode alone. `remove`: the plan no longer has it; an original that was kept comes back. */
  readonly kind: "create" | "change" | "permissions" | "remove";
  readonly secret: boolean;
  /** A file that was there before hotpair: `destroy` puts it back. */
  readonly takenOver: boolean;
  /** Since the last apply, somebody else has written, removed or re-owned it. */
  readonly byHand: boolean;
  /** Text after the change; undefined for a secret and for a removal. */
  readonly after: string | undefined;
  /** Owner, group and mode, before and after, where they differ. */
  readonly permissions: { readonly before: string; readonly after: string } | undefined;
  readonly onChange: OnChange;
}

export interface NodeChanges {
  readonly files: readonly FileChange[];
  /** Installed first, and not uninstalled by a roll-back. */
  readonly packages: readonly string[];
  readonly units: readonly DriftedUnit[];
  /** An earlier apply was interrupted: it is undone before this one begins. */
  readonly unfinished: boolean;
}

/**
 * `changedSecrets` are the paths of secret files whose content is known to be new; their values are not asked for, so
 * that a comparison needs no passphrase.
 */
export function changesOf(plan: NodePlan, server: ServerState, changedSecrets: ReadonlySet<string>): NodeChanges {
  const recorded = new Map(server.manifest.files.map((file) => [file.path, file]));
  const drifted = new Set(server.drift.files.map(({ path }) => path));
  const planned = new Set(plan.files.map(({ path }) => path));
  const files = plan.files.flatMap((file): FileChange[] => {
    const found = server.present.get(file.path);
    const text = textOf(file);
    // A secret's digest is not computed here; the manifest knows what was applied, drift whether it is still there.
    const same =
      found !== undefined &&
      (text === undefined
        ? found.sha256 === recorded.get(file.path)?.sha256 && !changedSecrets.has(file.path)
        : found.sha256 === sha256(text));
    const [before, after] = [found && permissionsOf(found), permissionsOf(file)];
    const moved = before !== undefined && before !== after ? { before, after } : undefined;
    if (same && moved === undefined) return [];
    return [
      {
        path: file.path,
        kind: found === undefined ? "create" : same ? "permissions" : "change",
        secret: text === undefined,
        takenOver: found !== undefined && !recorded.has(file.path),
        byHand: drifted.has(file.path),
        after: text,
        permissions: moved,
        onChange: file.onChange,
      },
    ];
  });
  const removed = server.manifest.files
    .filter(({ path }) => !planned.has(path))
    .map(
      ({ path, secret }): FileChange => ({
        ...{ path, secret, kind: "remove", takenOver: false, byHand: drifted.has(path) },
        ...{ after: undefined, permissions: undefined, onChange: { action: "none" } },
      }),
    );
  return {
    files: [...files, ...removed],
    packages: plan.installPackages ? server.missingPackages : [],
    units: server.drift.units.filter(({ name }) => plan.units.some((unit) => unit.name === name)),
    unfinished: server.drift.unfinished,
  };
}

export const isUnchanged = ({ files, packages, units, unfinished }: NodeChanges): boolean =>
  files.length === 0 && packages.length === 0 && units.length === 0 && !unfinished;

const textOf = (file: PlannedFile): string | undefined =>
  !file.secret && typeof file.content === "string" ? file.content : undefined;

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const permissionsOf = ({ mode, owner, group }: Pick<FileFacts, "mode" | "owner" | "group">): string =>
  `${mode} ${owner}:${group}`;
