// The timer solver with the estimates of all services of a pair: what `hotpair tune` proposes, and the values that the
// findings about missed targets name.

import { clientOf, type Estimate, estimateClass } from "../model/estimate.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { Pair } from "../model/pair.ts";
import { type Tuning, tunerOf } from "../model/tuning.ts";
import { estimate } from "./estimate.ts";
import { services } from "./index.ts";

/** A target that no set of timers keeps is in `unmet`. `unstated`: timers that the stack file leaves to their defaults. */
export const tuningOf = (pair: Pair, unstated: readonly string[] = []): Tuning => tunerOf(pair, estimates, unstated)();

/** For the target of one class after the other; nothing is worked out before the first is asked for. */
export function tuningPerClass(pair: Pair): (failure: FailureClassId) => Tuning {
  let tuner: ReturnType<typeof tunerOf> | undefined;
  return (failure) => {
    tuner ??= tunerOf(pair, estimates);
    return tuner(failure);
  };
}

/** One class is asked for some hundred times in a search. */
const estimates = (pair: Pair, failure?: FailureClassId): readonly Estimate[] =>
  failure === undefined
    ? estimate(pair)
    : [
        estimateClass(
          failure,
          services.flatMap((service) => service.timing(pair)).filter((term) => term.failure === failure),
          pair,
          clientOf(pair),
        ),
      ];
