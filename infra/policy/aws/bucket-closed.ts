// Backups are everything that the pair knows.

import { resourcePolicy } from "./policy.ts";

export const bucketClosed = resourcePolicy("bucket-closed", "No bucket can be made public.");
