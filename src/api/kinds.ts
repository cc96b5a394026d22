import { appsV1 } from "./apps-v1.ts";
import { batchV1 } from "./batch-v1.ts";
import { coreV1 } from "./core-v1.ts";
import type { KindEntry } from "./kind-facts.ts";

/** What the files of the group-versions say, one after the other. */
export const kinds: readonly KindEntry[] = [...coreV1, ...appsV1, ...batchV1];
