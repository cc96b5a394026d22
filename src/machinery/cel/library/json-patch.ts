/** Kubernetes' jsonpatch library: keys as parts of a path. */
import { global, type Library } from "../functions.ts";
import { costs } from "../sizes.ts";
import { string } from "../types.ts";
import { sizeOf } from "../values.ts";

const escapes: Readonly<Record<string, string>> = { "/": "~1", "~": "~0" };

export const jsonPatch: Library = [
  [
    "jsonpatch.escapeKey",
    global(
      "string_jsonpatch_escapeKey_string",
      [string],
      string,
      (key: string) => key.replace(/[/~]/g, (found) => escapes[found]!),
      ([key]) => Math.ceil(sizeOf(key!) * costs.stringTraversal),
    ),
  ],
];
