// Gathers the timing terms of all services of a pair and lets the model sum them up. The one way to an estimate: `check`,
// the program, the policy pack, drills and the report all come through here.

import { type Client, clientOf, type Estimate, estimateAll } from "../model/estimate.ts";
import type { Pair } from "../model/pair.ts";
import { services } from "./index.ts";

/** Estimates of every failure class that the pair has, in the catalogue's order. */
export const estimate = (pair: Pair, client: Client = clientOf(pair)): readonly Estimate[] =>
  estimateAll(
    services.flatMap((service) => service.timing(pair)),
    pair,
    client,
  );
