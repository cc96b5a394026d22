/** Kubernetes' regex library: find and findAll. */
import { type Library, member } from "../functions.ts";
import { findMatches } from "../regex.ts";
import { int, listOf, string } from "../types.ts";
import type { CelInt } from "../values.ts";
import { matchCost } from "./standard.ts";

const all = (text: string, pattern: string, limit: CelInt = -1) => findMatches(text, pattern, Number(limit));

export const searches: Library = [
  [
    "find",
    member(
      "string_find_string",
      [string, string],
      string,
      (text: string, pattern: string) => findMatches(text, pattern, 1)[0] ?? "",
      matchCost,
    ),
  ],
  [
    "findAll",
    member("string_find_all_string", [string, string], listOf(string), all, matchCost),
    member("string_find_all_string_int", [string, string, int], listOf(string), all, matchCost),
  ],
];
