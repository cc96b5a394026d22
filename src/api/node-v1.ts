import { ageColumn, text } from "./columns.ts";
import { runtimeClasses } from "./generated/node-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateRuntimeClass, validateRuntimeClassUpdate } from "./validation/others.ts";

export const nodeV1: readonly KindEntry[] = [
  kind(runtimeClasses, {
    columns: [text("Handler", ({ handler }) => handler), ageColumn],
    strategy: {
      validate: validateRuntimeClass,
      validateUpdate: validateRuntimeClassUpdate,
      allowCreateOnUpdate: true,
      allowUnconditionalUpdate: false,
    },
  }),
];
