// A stand-in for Pulumi's AWS plugin, for tests with the real engine: it makes nothing and writes down what it was told to
// make, change and delete, one JSON line each, into the file that HOTPAIR_TEST_CLOUD names. What AWS itself would refuse, it
// does not know.

import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { output } from "@pulumi/pulumi";
import { main } from "@pulumi/pulumi/provider/index.js";

/** Marks a secret (specialSigKey in @pulumi/pulumi/runtime/rpc.ts), which the SDK leaves on. Secrets are handed back as they come. */
const ENVELOPE = "4dabf18193072939515e22adb298388d";

const opened = async (inputs) => {
  const known = await new Promise((resolve) => output(inputs).apply(resolve));
  return Object.fromEntries(Object.entries(known).map(([key, one]) => [key, one?.[ENVELOPE] ? one.value : one]));
};

const note = async (act, urn, given) => {
  const inputs = await opened(given);
  const [type, name] = [urn.split("::")[2].split("$").at(-1), urn.split("::").at(-1)];
  appendFileSync(process.env.HOTPAIR_TEST_CLOUD, `${JSON.stringify({ act, type, name, inputs })}\n`);
};

/** What AWS adds to what it was given. */
const outputs = (urn, inputs) => {
  const name = urn.split("::").at(-1);
  const [one, other] = createHash("sha256").update(name).digest();
  return {
    name,
    keyName: name,
    bucket: name,
    ...inputs,
    arn: `arn:aws:test:eu-central-1:123456789012:${name}`,
    ownerId: "123456789012",
    macAddress: `02:00:00:00:${[one, other].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`,
  };
};

await main(
  {
    version: "7.48.0",
    check: async (_urn, _olds, news) => ({ inputs: news }),
    diff: async (_id, _urn, before, after) => {
      const [olds, news] = await Promise.all([opened(before), opened(after)]);
      return { changes: Object.keys(news).some((key) => !isDeepStrictEqual(olds[key], news[key])) };
    },
    create: async (urn, inputs) => {
      await note("create", urn, inputs);
      return { id: `${urn.split("::").at(-1)}-1`, outs: outputs(urn, inputs) };
    },
    update: async (_id, urn, _olds, news) => {
      await note("update", urn, news);
      return { outs: outputs(urn, news) };
    },
    read: async (id, _urn, props) => ({ id, props }),
    delete: async (_id, urn) => note("delete", urn, {}),
    invoke: async (token, inputs) => {
      await note("ask", `::::${token}::`, inputs);
      return { outputs: { id: "ami-newest" } };
    },
  },
  process.argv.slice(2),
);
