// What is declared for AWS, registered by the classes of @pulumi/aws under the SDK's mocks: the same inputs, with references resolved, as children of one
// component, secrets secret, and servers that the nodes' commands wait for.

import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { beforeAll, beforeEach, expect, it } from "vitest";
import { AwsServers } from "../../infra/components/aws.ts";
import { type AwsClasses, loadAwsClasses } from "../../infra/components/aws-classes.ts";
import { UserError } from "../../infra/model/errors.ts";
import type { HostId } from "../../infra/model/pair.ts";
import {
  AWS_PLUGIN_VERSION,
  type Declared,
  isDocument,
  isJoined,
  isLookup,
  isOutput,
  type OutputOf,
  type Value,
} from "../../infra/model/resource.ts";
import { serverOf } from "../../infra/targets/aws.ts";
import { awsPackage, installAwsPackage } from "../../infra/toolchain/aws-package.ts";
import { cloudDataPair, cloudPair } from "../model/pairs.ts";
import { arbitraryCloud } from "../targets/cloud-arbitrary.ts";
import {
  BY_METHOD,
  type CloudPair,
  declare,
  existing,
  fencedPair,
  inAws,
  oneZone,
  vip,
} from "../targets/cloud-pairs.ts";

interface Registered {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

let registered: Registered[] = [];
const calls: { readonly token: string; readonly inputs: unknown }[] = [];

let classes: AwsClasses;

beforeAll(async () => {
  await installAwsPackage(() => {});
  classes = loadAwsClasses(awsPackage());
}, 300_000);

/** What AWS would say of a resource, beside what it was told. */
const answers = (name: string): Readonly<Record<string, string>> => ({
  arn: `arn:of:${name}`,
  bucket: `bucket-${name}`,
  keyName: `key-of-${name}`,
  macAddress: `mac-of-${name}`,
  name: `name-of-${name}`,
  ownerId: `owner-of-${name}`,
});

beforeEach(async () => {
  await pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      registered.push({ type, name, inputs });
      return { id: `${name}-id`, state: { ...answers(name), ...inputs } };
    },
    call: ({ token, inputs }) => {
      calls.push({ token, inputs });
      return { id: "ami-newest" };
    },
  });
});

const HOST_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nnobody may read this\n";

async function deploy(pair: CloudPair = cloudPair) {
  registered = [];
  const options: { readonly name: string; readonly opts: pulumi.CustomResourceOptions; readonly props: unknown }[] = [];
  const waiting: Promise<unknown>[] = [];
  const servers = new AwsServers(
    "aws",
    {
      classes,
      region: "eu-central-1",
      declared: declare(pair),
      servers: { a: serverOf(pair, "a"), b: serverOf(pair, "b"), witness: serverOf(pair, "witness") },
      secrets: () => HOST_KEY,
      clientPorts: [80],
    },
    {
      transformations: [
        ({ resource, name, opts, props }) => {
          options.push({ name, opts, props });
          waiting.push(new Promise((resolve) => setImmediate(() => resource.urn.apply(resolve))));
          return undefined;
        },
      ],
    },
  );
  await Promise.all(waiting);
  return { servers, options };
}

const named = (name: string): Registered => {
  const found = registered.find((each) => each.name === name && each.type !== "hotpair:index:AwsServers");
  if (found === undefined) throw new Error(`${name} was not registered`);
  return found;
};

/** What the engine must be told, by the mocks' own answers. */
function expected(declared: readonly Declared[]): readonly Registered[] {
  const told = new Map<string, Registered["inputs"]>();
  const output = ({ of, output: field }: OutputOf): unknown => {
    const said: Readonly<Record<string, unknown>> = { id: `${of}-id`, ...answers(of), ...told.get(of) };
    if (said[field] === undefined) throw new Error(`the mocks know no ${field} of ${of}`);
    return said[field];
  };
  const plain = (value: Value): unknown => {
    if (typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(plain);
    if (isOutput(value)) return output(value);
    if (isLookup(value)) return "ami-newest";
    if (isDocument(value)) return JSON.stringify(plain(value.json));
    if (isJoined(value))
      return value.join
        .map((part) => (typeof part === "string" ? part : "of" in part ? output(part) : JSON.stringify(HOST_KEY)))
        .join("");
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  };
  return declared.map(({ name, type, inputs }) => {
    told.set(name, plain(inputs) as Registered["inputs"]);
    return { type, name, inputs: told.get(name) ?? {} };
  });
}

/** As a provider sees it, to which nothing is secret. */
function opened(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(opened);
  if (pulumi.runtime.specialSigKey in value) return opened((value as { readonly value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, opened(inner)]));
}

const KINDS: Readonly<Record<string, CloudPair>> = {
  ...BY_METHOD,
  "with fencing": fencedPair,
  "with data and a witness": cloudDataPair,
  "one zone, an existing VPC": inAws({
    ...{ zones: oneZone, vip: vip("route"), vpc: { prefix: "10.20.0.0/16", existing } },
  }),
};

/** Everything that is declared and nothing else, as children of one component, by the vendor's plugin of one version. */
async function registersToTheLetter(pair: CloudPair): Promise<void> {
  const { options } = await deploy(pair);
  const byName = (one: Registered, other: Registered) => (one.name < other.name ? -1 : 1);
  const made = registered.filter(({ type }) => type.startsWith("aws:"));
  expect(
    made.map(({ inputs, ...rest }) => ({ ...rest, inputs: opened(inputs) as typeof inputs })).toSorted(byName),
  ).toEqual(expected(declare(pair)).toSorted(byName));
  expect(registered.map(({ type }) => type)).toContain("pulumi:providers:aws");
  for (const { name, opts } of options.filter((each) => each.name !== "aws")) {
    expect([name, (opts.parent as { __name?: string } | undefined)?.__name]).toEqual([name, "aws"]);
    expect([name, opts.version]).toEqual([name, AWS_PLUGIN_VERSION]);
  }
}

it.each(Object.entries(KINDS))("registers what is declared, and nothing else, to the letter: %s", async (_, pair) => {
  await registersToTheLetter(pair);
});

it("does so in every configuration", async () => {
  await fc.assert(fc.asyncProperty(arbitraryCloud(), registersToTheLetter), { numRuns: 8 });
});

it("resolves references, looks the image up, and writes policies as JSON", async () => {
  await deploy();
  expect(named("subnet-storage-b").inputs).toMatchObject({ vpcId: "vpc-id", cidrBlock: "10.20.2.128/25" });
  expect(named("instance-a").inputs).toMatchObject({
    ami: "ami-newest",
    primaryNetworkInterface: { networkInterfaceId: "interface-public-a-id" },
    iamInstanceProfile: "name-of-profile-a",
  });
  expect(calls[0]).toMatchObject({ token: "aws:ec2/getAmi:getAmi", inputs: { owners: ["136693071363"] } });
  expect(JSON.parse(String(named("right-b").inputs.policy))).toEqual({
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Action: ["ec2:AssociateAddress"],
        Resource: ["arn:of:interface-public-b", "arn:of:address", "arn:of:instance-b"],
      },
    ],
  });
});

it("keeps the host key a secret, and puts it and each interface's MAC address where the server reads them", async () => {
  const { options } = await deploy();
  const props = options.find(({ name }) => name === "instance-a")?.props as {
    readonly userData: pulumi.Output<string>;
  };
  expect(await pulumi.isSecret(props.userData)).toBe(true);
  const sent = JSON.stringify(named("instance-a").inputs.userData);
  expect(sent).toContain("nobody may read this");
  expect(sent).toContain("mac-of-interface-storage-a");
  for (const { name, inputs } of registered)
    if (!name.startsWith("instance-")) expect(JSON.stringify(inputs)).not.toContain("nobody may read this");
});

it("leaves alone what the nodes move and what must not exchange a server", async () => {
  const { options } = await deploy();
  const optionsOf = (name: string) => options.find((each) => each.name === name)?.opts;
  expect(optionsOf("instance-b")?.ignoreChanges).toContain("instanceType");
  expect(optionsOf("instance-b")).toMatchObject({ deleteBeforeReplace: true, protect: true });
  expect(optionsOf("interface-public-b")?.protect).toBeUndefined();
  expect(optionsOf("address")?.ignoreChanges).toContain("networkInterface");
});

it("names the servers that a host's command waits for", async () => {
  const { servers } = await deploy(cloudDataPair);
  const names = (id: HostId) =>
    servers.servers[id].map((resource) => (resource as unknown as { __name: string }).__name);
  expect(names("b")).toEqual([
    "instance-b",
    "attachment-heartbeat-b",
    "attachment-storage-b",
    "operators-b",
    "right-b",
  ]);
  expect(names("witness")).toEqual(["instance-witness", "operators-witness"]);
});

it("makes a witness without a role, in its own subnet, with a host key of its own", async () => {
  await deploy(cloudDataPair);
  expect(named("instance-witness").inputs).toMatchObject({
    ami: "ami-newest",
    primaryNetworkInterface: { networkInterfaceId: "interface-witness-id" },
  });
  expect(named("instance-witness").inputs).not.toHaveProperty("iamInstanceProfile");
  expect(named("interface-witness").inputs).toMatchObject({ subnetId: "subnet-witness-id" });
  expect(JSON.stringify(named("instance-witness").inputs.userData)).toContain("nobody may read this");
});

it("says what to do where the package of the classes is not", () => {
  const missing = () => loadAwsClasses("/nonexistent");
  expect(missing).toThrow(UserError);
  expect(missing).toThrow(/@pulumi\/aws 7\.48\.0 is not here/);
});
