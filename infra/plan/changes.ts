// What applying a plan would do to a server: its files one by one, compared with what is there. Pure; asking the server is
// infra/ssh/survey.ts, applying is infra/node, and what a person gets to see is infra/cli.

import { createHash } from "node:crypto";
import type { SecretRef } from "../model/pair.ts";
import type { HostPlan, OnChange, PlannedFile } from "../model/plan.ts";
import type { DriftedUnit, FileFacts, ServerState } from "../model/server.ts";
import { text } from "./bundle.ts";

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
 * `secrets` opens the plan's secrets. Without it, a secret file counts as unchanged while it is what was applied last: enough
 * where the inputs of the node's resource did not change, and needs no passphrase.
 */
export function changesOf(plan: HostPlan, server: ServerState, secrets?: (ref: SecretRef) => string): NodeChanges {
  const recorded = new Map(server.manifest.files.map((file) => [file.path, file]));
  const drifted = new Set(server.drift.files.map(({ path }) => path));
  const planned = new Set(plan.files.map(({ path }) => path));
  const files = plan.files.flatMap((file): FileChange[] => {
    const found = server.present.get(file.path);
    const shown = shownText(file);
    const wantedText = shown ?? (secrets && text(file.content, secrets));
    const wanted = wantedText === undefined ? recorded.get(file.path)?.sha256 : sha256(wantedText);
    const same = found !== undefined && found.sha256 === wanted;
    const [before, after] = [found && permissionsOf(found), permissionsOf(file)];
    const moved = before !== undefined && before !== after ? { before, after } : undefined;
    if (same && moved === undefined) return [];
    return [
      {
        path: file.path,
        kind: found === undefined ? "create" : same ? "permissions" : "change",
        secret: shown === undefined,
        takenOver: found !== undefined && !recorded.has(file.path),
        byHand: drifted.has(file.path),
        after: shown,
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

/** Text that a person may see; undefined for a secret. */
const shownText = (file: PlannedFile): string | undefined =>
  !file.secret && typeof file.content === "string" ? file.content : undefined;

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const permissionsOf = ({ mode, owner, group }: Pick<FileFacts, "mode" | "owner" | "group">): string =>
  `${mode} ${owner}:${group}`;
