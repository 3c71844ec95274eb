// The configuration room's front door: read a stack file or what the Pulumi engine hands over, get a Pair.

export { readInput } from "./input.ts";
export { CONFIG_KEY, configPath, parsePath } from "./problem.ts";
export { readPair, readStack, secretPaths, secretStates, secretsOf, withPlaceholders } from "./read.ts";
export { readStackFile, type StackFile, valueAt } from "./stackfile.ts";
