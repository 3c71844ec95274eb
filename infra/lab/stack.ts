// A committed stack file of the default lab, in the words of another lab: pure text. Everything that a lab's index decides
// is replaced, the rest stays as its author wrote it; certificates, which name addresses, are the caller's.

import { UserError } from "../model/errors.ts";
import { hostsOf, type Lab } from "./lab.ts";
import { networks } from "./layout.ts";

/** `text` is stacks/Pulumi.lab.yaml or Pulumi.lab-stateful.yaml, where the hosts stand in the order of `hostsOf`. */
export function stackFor(lab: Lab, text: string): string {
  const keys = hostsOf(lab).map((host) => host.hostKey);
  const described = text.match(/hostKey: /g)?.length ?? 0;
  if (described > keys.length)
    throw new UserError(
      `the stack has ${described} hosts, and lab ${lab.name} has ${keys.length}: hotpair lab up --witness`,
    );
  const moved = networks.reduce(
    (all, network, third) => all.replaceAll(new RegExp(`\\b198\\.18\\.${third}\\.(?=\\d)`, "g"), `<${network}>.`),
    text,
  );
  return networks
    .reduce((all, network) => all.replaceAll(`<${network}>.`, `${lab.prefix(network)}.`), moved)
    .replace(/hostKey: .*/g, (line) => `hostKey: ${keys.shift() ?? line}`)
    .replace(/keyFile: .*/g, () => `keyFile: ${lab.keyFile}`);
}
