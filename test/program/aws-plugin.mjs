// A stand-in for Pulumi's AWS plugin, for tests with the real engine: it carries out what it is told in an account of moto
// (moto-resources.mjs) and writes it down, one JSON line each, into the file that HOTPAIR_TEST_CLOUD names.

import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { output } from "@pulumi/pulumi";
import { main } from "@pulumi/pulumi/provider/index.js";
import { ACCOUNT, anImage, RESOURCES } from "./moto-resources.mjs";

/** Marks a secret (specialSigKey in @pulumi/pulumi/runtime/rpc.ts), which the SDK leaves on. Secrets are handed back as they come. */
const ENVELOPE = "4dabf18193072939515e22adb298388d";

const opened = async (inputs) => {
  const known = await new Promise((resolve) => output(inputs).apply(resolve));
  return Object.fromEntries(Object.entries(known).map(([key, one]) => [key, one?.[ENVELOPE] ? one.value : one]));
};

const typeOf = (urn) => urn.split("::")[2].split("$").at(-1);
const nameOf = (urn) => urn.split("::").at(-1);
const resourceOf = (urn) => {
  const found = RESOURCES[typeOf(urn).split(":").at(-1)];
  if (found === undefined) throw new Error(`moto-resources.mjs does not know how to make ${typeOf(urn)}`);
  return found;
};

const note = (act, type, name, inputs) =>
  appendFileSync(process.env.HOTPAIR_TEST_CLOUD, `${JSON.stringify({ act, type, name, inputs })}\n`);

/** What AWS adds to what it was given. */
const outputs = (urn, { id, ...made }, inputs) => {
  const [one, other] = createHash("sha256").update(nameOf(urn)).digest();
  return {
    macAddress: `02:00:00:00:${[one, other].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`,
    ...inputs,
    arn: `arn:aws:ec2:eu-central-1:${ACCOUNT}:${resourceOf(urn).arn?.(id) ?? id}`,
    ownerId: ACCOUNT,
    ...made,
    // By which a later look tells apart what it was given and what AWS has added.
    given: Object.keys(inputs),
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
    create: async (urn, given) => {
      const inputs = await opened(given);
      note("create", typeOf(urn), nameOf(urn), inputs);
      const made = await resourceOf(urn).make(nameOf(urn), inputs);
      return { id: made.id, outs: outputs(urn, made, given) };
    },
    update: async (id, urn, before, given) => {
      const { change } = resourceOf(urn);
      if (change === undefined)
        throw new Error(`${nameOf(urn)}: no test changes one of these, so this stand-in does not know how`);
      const [olds, news] = await Promise.all([opened(before), opened(given)]);
      const changed = Object.keys(news).filter((key) => !isDeepStrictEqual(olds[key], news[key]));
      note("update", typeOf(urn), nameOf(urn), Object.fromEntries(changed.map((key) => [key, news[key]])));
      await change(id, changed, news);
      return { outs: { ...before, ...given } };
    },
    read: async (id, urn, before) => {
      const { there, now } = resourceOf(urn);
      if (there !== undefined && !(await there(id).catch(() => false))) return { id: "", props: {} };
      if (now === undefined) return { id, props: before };
      const seen = Object.entries(await now(id, await opened(before))).filter(([, value]) => value !== undefined);
      const props = { ...before, ...Object.fromEntries(seen) };
      // As the bridge of the real one does at a refresh: what was given is what there is now.
      return { id, props, inputs: Object.fromEntries(props.given.map((name) => [name, props[name]])) };
    },
    delete: async (id, urn, props) => {
      note("delete", typeOf(urn), nameOf(urn), {});
      await resourceOf(urn).end(id, await opened(props));
    },
    invoke: async (token, inputs) => {
      note("ask", token, "", await opened(inputs));
      return { outputs: { id: await anImage() } };
    },
  },
  process.argv.slice(2),
);
