// Promises about the committed stack files of the lab: they work as they are, and in a lab with other addresses.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { labStack, withLabFencing } from "../../infra/cli/lab-stack.ts";
import { openSalt } from "../../infra/cli/passphrase.ts";
import { LAB_PASSPHRASE } from "../../infra/cli/secrets.ts";
import { stackPath } from "../../infra/cli/stack.ts";
import { readStack, readStackFile } from "../../infra/config/index.ts";
import { hostKeyPair, powerKey } from "../../infra/lab/keys.ts";
import type { HostName, Lab, NodeName } from "../../infra/lab/lab.ts";
import {
  addressOf,
  interfaceOf,
  namespacesOf,
  type networks,
  prefixOf,
  witnessNetworks,
} from "../../infra/lab/layout.ts";
import { MEMBER_IDS, memberAddress } from "../../infra/services/etcd.ts";
import { collectFindings } from "../../infra/services/findings.ts";

const stateful = readFileSync(stackPath("lab-stateful"), "utf8");
const stateless = readFileSync(stackPath("lab"), "utf8");

/** A lab as it would be, of which nothing exists. */
function labAt(index: number, { witness }: { witness: boolean }): Lab {
  const host = <Name extends HostName>(name: Name) => ({
    name,
    hostKey: hostKeyPair(index, name).publicKey,
    ssh: { host: "", port: 22, user: "root", hostKey: "", auth: { kind: "agent" } } as const,
    kind: "container" as const,
    pid: undefined,
  });
  const node = (name: NodeName) => {
    const per = (value: (network: (typeof networks)[number]) => string) => ({
      public: value("public"),
      heartbeat: value("heartbeat"),
      storage: value("storage"),
    });
    return {
      ...host(name),
      address: per((network) => addressOf(index, name, network)),
      interface: per((network) => interfaceOf(name, network)),
    };
  };
  const [network] = witnessNetworks;
  const third = {
    ...host("witness"),
    address: { public: addressOf(index, "witness", network) },
    interface: { public: interfaceOf("witness", network) },
  };
  return {
    name: "t",
    index,
    image: "bare",
    stateDir: "/nowhere",
    spareCards: false,
    keyFile: "/nowhere/id_ed25519",
    hosts: { "node-a": node("node-a"), "node-b": node("node-b"), ...(witness && { witness: third }) },
    namespaces: namespacesOf(index),
    prefix: (segment) => prefixOf(index, segment),
  };
}

const allIn = (text: string) => {
  const { pair } = readStack(text, "Pulumi.lab-stateful.yaml", "lab-stateful");
  const { authority, witness } = pair;
  if (authority === undefined || witness === undefined) throw new Error("the stack has no witness");
  return { pair, authority, witness };
};

test("the stacks of the default lab stay as they are in the default lab, but for the key file's place", async () => {
  const lab = { ...labAt(0, { witness: true }), keyFile: "~/.cache/hotpair/lab/default/id_ed25519" };
  expect(await labStack(lab, stateful)).toBe(stateful);
  expect(await labStack(lab, stateless)).toBe(stateless);
});

test.each([0, 7])(
  "in lab index %i every member has a certificate of its own address and the key to it",
  async (index) => {
    const text = await labStack(labAt(index, { witness: true }), stateful);
    const { pair, authority, witness } = allIn(text);
    const { encryptionSalt = "", pairInput } = readStackFile(text, "");
    const crypter = await openSalt(encryptionSalt, LAB_PASSPHRASE);
    const { members } = (pairInput as { authority: { members: Record<string, { key: { secure: string } }> } })
      .authority;
    const issuer = new X509Certificate(authority.caCertificate);
    for (const id of MEMBER_IDS) {
      const certificate = new X509Certificate(authority.members[id].certificate);
      expect(certificate.checkIP(memberAddress(pair, id))).toBeDefined();
      expect(certificate.verify(issuer.publicKey)).toBe(true);
      const key = createPrivateKey(crypter.decrypt(members[id]?.key.secure ?? ""));
      expect(certificate.checkPrivateKey(key)).toBe(true);
    }
    expect(witness).toMatchObject({ address: `198.18.${8 * index}.13` });
    expect(witness.ssh.hostKey).toBe(hostKeyPair(index, "witness").publicKey);
    expect(pair.nodes[1].ssh.hostKey).toBe(hostKeyPair(index, "node-b").publicKey);
  },
);

test("with fencing each node is shot by the switch of this very lab, by its own plug", async () => {
  const lab = labAt(7, { witness: true });
  const text = await withLabFencing(lab, await labStack(lab, stateful));
  const { pair } = allIn(text);
  expect(pair.fencing?.agents.a).toMatchObject({ agent: "lab", options: { ip: "198.18.56.1", plug: "node-a" } });
  expect(pair.fencing?.agents.b.options.plug).toBe("node-b");
  expect(collectFindings(pair).filter(({ level }) => level === "mandatory")).toEqual([]);
  const { encryptionSalt = "", pairInput } = readStackFile(text, "");
  const crypter = await openSalt(encryptionSalt, LAB_PASSPHRASE);
  const { fencing } = pairInput as { fencing: { agents: readonly { secrets: { key: { secure: string } } }[] } };
  expect(fencing.agents.map(({ secrets }) => crypter.decrypt(secrets.key.secure))).toEqual([powerKey(7), powerKey(7)]);
  await expect(withLabFencing(lab, stateless)).rejects.toThrow("hotpair lab up --witness");
});

test("the published secrets are what the servers take", async () => {
  const { encryptionSalt = "", pairInput } = readStackFile(stateful, "");
  const crypter = await openSalt(encryptionSalt, LAB_PASSPHRASE);
  const { beaconKey, mariadb } = pairInput as {
    beaconKey: { secure: string };
    mariadb: { replicationPassword: { secure: string } };
  };
  expect(crypter.decrypt(beaconKey.secure)).toMatch(/^[0-9a-f]{64}$/);
  expect(crypter.decrypt(mariadb.replicationPassword.secure)).toMatch(/^[A-Za-z0-9]{20,32}$/);
});

test("a stack with a witness is refused for a lab without one", async () => {
  await expect(labStack(labAt(3, { witness: false }), stateful)).rejects.toThrow("hotpair lab up --witness");
});
