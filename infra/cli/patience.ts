// How long a command may wait, as a person types it: a whole number of one unit.

import { InvalidArgumentError } from "commander";

/** Reads 1 to `longest` of the unit, e.g. `patience("seconds", 3_600)`; commander names the option in its error. */
export const patience =
  (unit: "seconds" | "minutes", longest: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > longest)
      throw new InvalidArgumentError(`${unit}, 1 to ${longest}`);
    return value;
  };
