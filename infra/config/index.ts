// The configuration room's front door: read a stack file or what the Pulumi engine hands over, get a Pair.

export { CONFIG_KEY } from "./problem.ts";
export { readPair, readStack, secretPaths, secretsOf } from "./read.ts";
export { readStackFile, type StackFile } from "./stackfile.ts";
