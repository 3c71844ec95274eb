// The committed stack file of the default lab, in the words of another lab: pure text. Everything that a lab's index
// decides is replaced, the rest stays as its author wrote it.

import type { Lab } from "./lab.ts";
import { networks, nodeNames } from "./layout.ts";

/** `text` is stacks/Pulumi.lab.yaml, where node-a stands before node-b. */
export function stackFor(lab: Lab, text: string): string {
  const keys = nodeNames.map((host) => lab.hosts[host].hostKey);
  const moved = networks.reduce(
    (all, network, third) => all.replaceAll(new RegExp(`\\b198\\.18\\.${third}\\.(?=\\d)`, "g"), `<${network}>.`),
    text,
  );
  return networks
    .reduce((all, network) => all.replaceAll(`<${network}>.`, `${lab.prefix(network)}.`), moved)
    .replace(/hostKey: .*/g, (line) => `hostKey: ${keys.shift() ?? line}`)
    .replace(/keyFile: .*/g, () => `keyFile: ${lab.keyFile}`);
}
