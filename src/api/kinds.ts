import type { KindEntry } from "./kind-facts.ts";

/** What the files of the group-versions say, one after the other. */
export const kinds: readonly KindEntry[] = [];
