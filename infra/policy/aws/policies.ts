// The list of policies about resources in AWS, in the order in which they are shown.

import type { Policies } from "@pulumi/policy";
import { bucketClosed } from "./bucket-closed.ts";
import { encrypted } from "./encrypted.ts";
import { metadataTokens } from "./metadata-tokens.ts";
import { noWildcards } from "./no-wildcards.ts";
import { portsDeclared } from "./ports-declared.ts";
import { rulesApart } from "./rules-apart.ts";
import { stopsPeerAlone } from "./stops-peer-alone.ts";

export const awsPolicies: Policies = [
  portsDeclared,
  rulesApart,
  encrypted,
  bucketClosed,
  metadataTokens,
  noWildcards,
  stopsPeerAlone,
];
