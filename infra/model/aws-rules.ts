// What must never be made in AWS, whoever declares it: one function per rule, each over one resource as its inputs say it.
// The program asks them about everything that it is about to make, the policy pack about everything that a stack has.

import type { Finding } from "./finding.ts";
import type { Declared } from "./resource.ts";

/** A resource by type token and inputs; an input that is not known yet is anything but text, number or truth value. */
export interface Made {
  readonly type: string;
  readonly props: Readonly<Record<string, unknown>>;
}

/** A rule's name and what it says of a resource; undefined: nothing. `clientPorts` are those that services declare for clients. */
export type ResourceRule = (made: Made, clientPorts: readonly number[]) => string | undefined;

/** More than this is not somebody's network but everybody's. */
const WORLD_BITS = 8;

const isWorld = (prefix: unknown): boolean =>
  typeof prefix === "string" && (prefix.includes(":") || Number(prefix.split("/")[1]) < WORLD_BITS);

const INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";

/** Of inputs: what a group has in the end is every rule that leads to it. */
const rulesApart: ResourceRule = ({ type, props }) => {
  if (type === "aws:ec2/securityGroup:SecurityGroup" && list(props.ingress).length > 0)
    return "has rules of its own, which nobody compares with what the services declare";
  if (type === "aws:vpc/securityGroupRule:SecurityGroupRule" || type === "aws:ec2/securityGroupRule:SecurityGroupRule")
    return `is a rule of a form that nobody compares with what the services declare; use ${INGRESS}`;
  return undefined;
};

const portsDeclared: ResourceRule = ({ type, props }, clientPorts) => {
  if (type !== INGRESS || !(isWorld(props.cidrIpv4) || props.cidrIpv6 !== undefined)) return undefined;
  const { ipProtocol, fromPort, toPort } = props;
  const single = (ipProtocol === "tcp" || ipProtocol === "udp") && fromPort === toPort;
  if (single && clientPorts.includes(Number(fromPort))) return undefined;
  return `opens ${ipProtocol === "-1" ? "everything" : `${ipProtocol} ${fromPort ?? ""}${toPort === fromPort ? "" : `-${toPort}`}`} to the world, and no service declares that for clients`;
};

const encrypted: ResourceRule = ({ type, props }) => {
  const open = (device: unknown): boolean => map(device).encrypted !== true;
  if (type === "aws:ec2/instance:Instance")
    return open(props.rootBlockDevice) || list(props.ebsBlockDevices).some(open)
      ? "has a volume that is not encrypted"
      : undefined;
  if (type === "aws:ebs/volume:Volume") return open(props) ? "is not encrypted" : undefined;
  if (type === "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
    return list(props.rules).every(
      (rule) => typeof map(map(rule).applyServerSideEncryptionByDefault).sseAlgorithm === "string",
    )
      ? undefined
      : "does not encrypt the bucket";
  return undefined;
};

const bucketClosed: ResourceRule = ({ type, props }) => {
  if (type !== "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    return /^aws:s3\/bucketAcl/.test(type)
      ? "gives a bucket access rules of the old kind, which can be public"
      : undefined;
  const open = ["blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"].filter(
    (name) => props[name] !== true,
  );
  return open.length === 0 ? undefined : `leaves the bucket open: ${open.join(", ")} must be true`;
};

const metadataTokens: ResourceRule = ({ type, props }) => {
  if (type !== "aws:ec2/instance:Instance") return undefined;
  const { httpTokens, httpPutResponseHopLimit: hops } = map(props.metadataOptions);
  if (httpTokens !== "required")
    return "gives its role's credentials to whoever can make it fetch a URL: IMDSv2 is not required";
  return hops === 1
    ? undefined
    : `gives its role's credentials ${hops ?? "some"} hops away; only the server itself needs them`;
};

/** Actions that know no resources: AWS grants them for all or not at all (Service Authorization Reference, Amazon EC2). */
const FOR_EVERYTHING: readonly string[] = ["ec2:DescribeInstances"];

const noWildcards: ResourceRule = ({ type, props }) => {
  if (!/^aws:iam\/(rolePolicy|policy|role|rolePolicyAttachment):/.test(type)) return undefined;
  if (type.startsWith("aws:iam/rolePolicyAttachment:") || list(props.managedPolicyArns).length > 0)
    return "takes over a policy that somebody else writes; state the actions themselves";
  const wide = statementsOf(props.policy).flatMap((statement) => {
    const { Effect, Action, Resource, NotAction, NotResource } = map(statement);
    if (Effect !== "Allow") return [];
    if (NotAction !== undefined || NotResource !== undefined) return ["what it does not name"];
    const actions = texts(Action);
    const unnamed =
      Resource === "*" && actions.length > 0 && actions.every((action) => FOR_EVERYTHING.includes(action));
    return [...actions, ...(unnamed ? [] : texts(Resource))].filter((text) => text.includes("*"));
  });
  return wide.length === 0
    ? undefined
    : `allows ${[...new Set(wide)].join(", ")}: name actions and resources one by one`;
};

/** What else a role could do to a server; nothing here needs it. */
const NEVER: readonly string[] = ["ec2:TerminateInstances", "ec2:StartInstances", "ec2:RebootInstances"];
const PAIR_TAG = "aws:ResourceTag/hotpair:pair";

const stopsPeerAlone: ResourceRule = ({ type, props }) => {
  if (!/^aws:iam\/(rolePolicy|policy|role):/.test(type)) return undefined;
  const complaints = statementsOf(props.policy).flatMap((statement): readonly string[] => {
    const { Effect, Action, Resource, Condition } = map(statement);
    const actions = texts(Action);
    if (Effect !== "Allow") return [];
    const never = actions.filter((action) => NEVER.includes(action));
    if (never.length > 0) return [`allows ${never.join(", ")}, which no node needs of another`];
    if (!actions.includes("ec2:StopInstances")) return [];
    const resources = Array.isArray(Resource) ? Resource : [Resource];
    // As data, before it is made, a server is a reference and no text yet.
    const one =
      resources.length === 1 && resources.every((each) => typeof each !== "string" || /:instance\/i-/.test(each));
    if (!one) return ["may stop more than one server, or what is none"];
    return map(map(Condition).StringEquals)[PAIR_TAG] === undefined ? ["may stop a server whatever tags it has"] : [];
  });
  return complaints[0];
};

/** By the name of the policy that carries each (`infra/policy/aws/<name>.ts`). */
export const RESOURCE_RULES = {
  "ports-declared": portsDeclared,
  "rules-apart": rulesApart,
  encrypted,
  "bucket-closed": bucketClosed,
  "metadata-tokens": metadataTokens,
  "no-wildcards": noWildcards,
  "stops-peer-alone": stopsPeerAlone,
} as const satisfies Readonly<Record<string, ResourceRule>>;

/** What a graph would make that must not be made. It is our own declaration that is wrong then, and it is not carried out. */
export const resourceFindings = (declared: readonly Declared[], clientPorts: readonly number[]): readonly Finding[] =>
  declared.flatMap(({ name, type, inputs }) =>
    Object.entries(RESOURCE_RULES).flatMap(([rule, judge]): readonly Finding[] => {
      const message = judge({ type, props: inputs }, clientPorts);
      if (message === undefined) return [];
      return [
        {
          rule: `aws-${rule}`,
          level: "mandatory",
          path: "hotpair:aws",
          message: `${name} ${message}`,
          fix: "report it: hotpair declares this itself",
        },
      ];
    }),
  );

/** Of a policy as JSON text, as a document that is not text yet (`{json: …}`), or as an object. */
function statementsOf(policy: unknown): readonly unknown[] {
  const document = typeof policy === "string" ? (JSON.parse(policy) as unknown) : (map(policy).json ?? policy);
  const statement = map(document).Statement;
  return Array.isArray(statement) ? statement : statement === undefined ? [] : [statement];
}

const map = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const texts = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [value]).filter((entry): entry is string => typeof entry === "string");
