import { ageColumn, text } from "./columns.ts";
import { runtimeClasses } from "./generated/node-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";

export const nodeV1: readonly KindEntry[] = [
  kind(runtimeClasses, {
    columns: [text("Handler", ({ handler }) => handler), ageColumn],
    strategy: { allowCreateOnUpdate: true, allowUnconditionalUpdate: false },
  }),
];
