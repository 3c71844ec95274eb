// What the pair promises and what it is judged by: objectives, the evidence that they need, how often what happens, and what is
// ordinary on its networks and servers.

import { formatDuration } from "../model/duration.ts";
import { DEFAULT_CLIENT, TIER_NAMES } from "../model/estimate.ts";
import { FAILURE_CLASS_IDS, FAILURE_CLASSES, type FailureClassId } from "../model/failure.ts";
import { parseRate } from "../model/rate.ts";
import { duration, keys, label, list, oneOf, text } from "./formats.ts";

const target = duration({
  min: "0s",
  max: "365d",
  step: "1ms",
  because: "targets are kept in milliseconds",
  example: "30s",
});

const limit = (example: string, max = "10s") =>
  duration({ min: "0s", max, step: "1ms", because: "timers count milliseconds", example });

export const limits = () =>
  keys({
    // The timers that these ask for stay within what their fields hold.
    roundTrip: limit("1ms", "1s")
      .default("1ms")
      .describe("Longest round trip between any two hosts of the pair. The default is one site's network."),
    jitter: limit("10ms", "5s").default("10ms").describe("How much longer a packet takes now and then."),
    pause: limit("50ms")
      .default("50ms")
      .describe(
        "Longest time for which a server does not run: a busy processor, a snapshot, a virtual machine that is moved. The default holds for servers of their own.",
      ),
    restore: limit("750ms", "50s")
      .default("750ms")
      .describe(
        "From systemd's start of a HAProxy that died until it serves. The default was measured in the lab, with room.",
      ),
    answer: limit("25ms", "1s")
      .default(formatDuration(DEFAULT_CLIENT.answer))
      .describe("Longest time that a client's request takes while all is well. The lab's pages take 1 to 2 ms."),
  });

const targets = (what: string) =>
  keys({
    default: target.optional().describe(`${what} for every failure class that is not named. Default: the tier's.`),
    ...(Object.fromEntries(
      FAILURE_CLASS_IDS.map((id) => [id, target.optional().describe(`${what} when ${FAILURE_CLASSES[id]}.`)]),
    ) as Record<FailureClassId, ReturnType<typeof target.optional>>),
  });

/** Names of tiers that are described here; everybody's own stand in `objectives.tiers`. */
const tierName = () =>
  text({
    what: `${TIER_NAMES.join(", ")}, or the name of one of objectives.tiers`,
    example: "standard",
    pattern: /^[a-z][a-z0-9-]{0,31}$/,
  });

const yearly = duration({
  min: "1s",
  max: "365d",
  step: "1s",
  because: "a year is counted in seconds",
  example: "24h",
});

export const objectives = () =>
  keys({
    tier: tierName()
      .default("standard")
      .describe(
        "`standard`: RTO 30s, RPO 5s. `critical`: RPO 0s, RTO 1s, or 3s with data. `extreme`: RTO 300ms, without data. `custom`: what `rto.default` and `rpo.default` say. Or one of `tiers`.",
      ),
    tiers: list(
      keys({
        name: label("the name of a tier", 32, "gold").describe("What `tier` calls it."),
        rto: target.describe("Recovery time objective for every class without a target of its own."),
        rpo: target.describe("Recovery point objective for every class without a target of its own."),
      }),
      "tiers",
      { max: 16 },
    )
      .default([])
      .describe("Tiers of your own, the same in every stack file of an organisation."),
    downtime: yearly
      .optional()
      .describe("Longest time without service in a year that may be expected, over all failures. Default: no budget."),
    redundancyLost: yearly
      .optional()
      .describe("Longest time in a year without a usable standby that may be expected. Default: no budget."),
    rto: targets("Recovery time objective")
      .prefault({})
      .describe("Longest time without service that a client may see, per failure class."),
    rpo: targets("Recovery point objective")
      .prefault({})
      .describe("Longest stretch of acknowledged data that may be lost, per failure class."),
  });

/** A day that there is: the 31st of June is none, and becomes the 1st of July when it is read. */
const isDay = (text: string): boolean => {
  const read = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(read.getTime()) && read.toISOString().startsWith(text);
};

export const evidence = () =>
  keys({
    enforcement: oneOf("advisory", "mandatory")
      .default("advisory")
      .describe(
        "Whether evidence that is missing, failed, too old or of another configuration stops `up`, or is only said.",
      ),
    maxAge: duration({ min: "1d", max: "3650d", step: "1d", because: "age is counted in days", example: "90d" })
      .default("90d")
      .describe("Evidence that is older says nothing any more."),
    allowedSigners: text({
      what: "a path to a file",
      example: "stacks/allowed_signers",
      pattern: /^[^\s][^\r\n]*$/,
    })
      .optional()
      .describe(
        "File of those who may sign evidence (`ssh-keygen`'s ALLOWED SIGNERS), from the project. With it, evidence counts only when one of them signed it. Default: no signature is needed.",
      ),
    beforeDrill: keys({
      digest: text({
        what: "`sha256:` and the first 12 to 64 digits of the configuration's digest",
        example: "sha256:5f3c0d1e9a7b",
        pattern: /^sha256:[0-9a-f]{12,64}$/,
      }).describe("The configuration that may be applied; `hotpair check` names its digest."),
      until: text({
        what: "a day in quotes, YYYY-MM-DD",
        example: "2026-12-24",
        pattern: /^\d{4}-\d{2}-\d{2}$/,
        accepts: (value) => isDay(value),
      }).describe("The last day (UTC) on which it may."),
    })
      .optional()
      .describe(
        "With `enforcement: mandatory`, the one way to apply a configuration that was not drilled yet: this very one, until this day.",
      ),
  });

export const failures = () =>
  list(
    keys({
      class: oneOf(...(FAILURE_CLASS_IDS as [FailureClassId, ...FailureClassId[]])).describe("The failure class."),
      rate: text({
        what: "how often it happens: a number per day, week, month or year",
        example: "0.5/year",
        accepts: (value) => parseRate(value) !== undefined,
      })
        .optional()
        .describe("How often it happens. Default: docs/estimate.md#a-year."),
      repair: yearly
        .optional()
        .describe(
          "From the failure until the pair is as it was, the night included. Default: docs/estimate.md#a-year.",
        ),
    }),
    "failure classes",
    { max: FAILURE_CLASS_IDS.length },
  );
