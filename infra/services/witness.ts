// What a witness host gets besides its member of the authority: the apply transaction, with its undo, and a journal that
// is kept. A witness may serve several pairs, also of different releases: everything here bears the pair's name, so that
// one pair's change or removal never touches another's.

import type { Pair } from "../model/pair.ts";
import type { Contribution, Service } from "../model/plan.ts";
import { undoOf, unitOf, witnessLibrary } from "./etcd.ts";
import { nodeFile, render } from "./template.ts";

export const witness: Service = {
  name: "witness",
  plan: () => undefined,
  witness: contribution,
  timing: () => [],
  findings: () => [],
};

function contribution(pair: Pair): Contribution | undefined {
  if (pair.witness === undefined) return undefined;
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const nothing = { action: "none" } as const;
  const names = {
    pair: pair.name,
    host: pair.witness.name,
    books: `/var/lib/hotpair/pairs/${pair.name}`,
    etcdUnit: unitOf(pair),
  };
  const program = `${witnessLibrary(pair)}/hotpair-apply`;
  const undo = undoOf(pair, "witness");
  return {
    packages: [],
    files: [
      ...(pair.base.persistentJournal
        ? [
            {
              ...root,
              path: `/etc/systemd/journald.conf.d/60-hotpair-${pair.name}.conf`,
              content: render("witness/journald.conf.hbs", names),
              onChange: { action: "restart", unit: "systemd-journald.service" },
            } as const,
          ]
        : []),
      { ...root, path: program, mode: "0755", content: nodeFile("hotpair-apply"), onChange: nothing },
      {
        ...root,
        path: `/etc/systemd/system/${undo}`,
        content: render("witness/hotpair-undo.service.hbs", names),
        onChange: nothing,
      },
      {
        ...root,
        path: `/etc/systemd/system/${undo.replace(/service$/, "timer")}`,
        content: nodeFile("hotpair-undo.timer"),
        onChange: nothing,
      },
    ],
    units: [{ name: undo, running: false, holdsRole: false }],
    validators: [{ name: "sh -n hotpair-apply", covers: [program], command: `sh -n ${program}` }],
    health: [],
  };
}
