// Whoever can make a server fetch a URL must not get its credentials.

import { resourcePolicy } from "./policy.ts";

export const metadataTokens = resourcePolicy(
  "metadata-tokens",
  "Credentials are given to the server itself alone, and only with a token (IMDSv2).",
);
