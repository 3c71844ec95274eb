// A committed stack file of the default lab, in the words of another lab, ready for use: infra/lab/stack.ts moves addresses
// and keys, and here the certificates of the etcd members follow, since each names the address of its member.

import { setValue } from "../config/edit.ts";
import { readStack, readStackFile } from "../config/index.ts";
import { powerKey } from "../lab/keys.ts";
import type { Lab } from "../lab/lab.ts";
import { nodeNames, powerSwitchOf } from "../lab/layout.ts";
import { stackFor } from "../lab/stack.ts";
import { UserError } from "../model/errors.ts";
import { MEMBER_IDS, memberAddress } from "../services/etcd.ts";
import { openSalt } from "./passphrase.ts";
import { LAB_PASSPHRASE } from "./secrets.ts";

/**
 * `text` is a committed stack file of the default lab. A member whose certificate does not name its address any more gets
 * a new one from the file's own authority; every other byte is what `stackFor` gives.
 */
export async function labStack(lab: Lab, text: string): Promise<string> {
  const moved = stackFor(lab, text);
  const file = `the stack file of lab ${lab.name}`;
  const { pair } = readStack(moved, file, "lab");
  if (pair.authority === undefined) return moved;
  const { describeCertificate, newMember } = await import("./certificates.ts");
  const { members, caCertificate } = pair.authority;
  const misplaced = MEMBER_IDS.filter(
    (id) => !describeCertificate(members[id].certificate).addresses.includes(memberAddress(pair, id)),
  );
  if (misplaced.length === 0) return moved;

  const { pairInput, encryptionSalt = "" } = readStackFile(moved, file);
  const { authority } = pairInput as { readonly authority: { readonly caKey: { readonly secure: string } } };
  const crypter = await openSalt(encryptionSalt, LAB_PASSPHRASE);
  const issuer = { certificate: caCertificate, key: crypter.decrypt(authority.caKey.secure) };
  let edited = moved;
  for (const id of misplaced) {
    const made = await newMember(issuer, pair.name, id, memberAddress(pair, id), Date.now());
    edited = setValue(edited, ["authority", "members", id, "certificate"], made.certificate);
    edited = setValue(edited, ["authority", "members", id, "key"], { secure: crypter.encrypt(made.key) });
  }
  return edited;
}

/** `text` is what `labStack` gives for a lab with a witness; the lab's power switch becomes the power controller of both nodes. */
export async function withLabFencing(lab: Lab, text: string): Promise<string> {
  const witness = "  hotpair:witness:\n";
  if (!text.includes(witness))
    throw new UserError(
      `lab ${lab.name} has no witness, and only the holder of a lease shoots: hotpair lab up --witness`,
    );
  const crypter = await openSalt(readStackFile(text, "").encryptionSalt ?? "", LAB_PASSPHRASE);
  const { address, port } = powerSwitchOf(lab.index);
  const agents = nodeNames.map(
    (node) => `      - node: ${node}
        agent: lab
        options:
          ip: ${address}
          plug: ${node}
          port: "${port}"
        secrets:
          key:
            secure: ${crypter.encrypt(powerKey(lab.index))}
`,
  );
  return text.replace(witness, `  hotpair:fencing:\n    timeout: 10s\n    agents:\n${agents.join("")}${witness}`);
}
